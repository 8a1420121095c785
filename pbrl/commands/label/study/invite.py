"""`pbrl label study invite`: make links for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from pbrl.commands.label.study.links import print_link
from pbrl.commands.label.study.opened import StudyOptions, opened
from pbrl.queries.human import invite
from pbrl.queries.human.people import Role, list_people, renew_token
from pbrl.queries.human.web.settings import check_url


@dataclass(frozen=True, kw_only=True)
class InviteOptions(StudyOptions):
    """Make a link for each person; whoever has one gets a new one, and the old one ends.

    Attributes:
        people: their names.
        role: annotators label in a browser, programs over HTTP, owners see everything.
        url: what browsers call the server by, as `pbrl label serve` prints it.
    """

    people: Annotated[tuple[str, ...], tyro.conf.Positional]
    role: Role = "annotator"
    url: str = "http://127.0.0.1:8000"

    def __post_init__(self) -> None:
        if not self.people:
            raise ValueError("name the people to make links for")
        check_url(self.url)


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label study invite` with the words after it."""
    options = tyro.cli(InviteOptions, args=list(arguments), prog="pbrl label study invite")
    tokens = []
    with opened(options.place, writes=True) as (connection, study):
        known = {person.name: person.id for person in list_people(connection, study.id)}
        for name in options.people:
            _, token = (
                renew_token(connection, study.id, known[name])
                if name in known
                else invite(connection, study.id, name, options.role)
            )
            tokens.append((name, token))
    console = Console(soft_wrap=True)
    for name, token in tokens:
        print_link(console, name, options.url, token)
