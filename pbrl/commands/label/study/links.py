"""Invitation links on a terminal."""

from rich.console import Console

from pbrl.queries.human.web.links import invitation_link

OWNER = "owner"


def print_link(console: Console, name: str, url: str, token: str) -> None:
    """Print somebody's link, which is kept nowhere."""
    console.print(f"  {name}: {invitation_link(url, token)}", markup=False, highlight=False)
