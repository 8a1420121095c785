"""`pbrl label serve`: let people label a study in their browsers."""

from collections.abc import Sequence
from dataclasses import dataclass

import tyro
from rich.console import Console

from pbrl.commands.label.study.opened import StudyOptions, opened
from pbrl.queries.human.serving import ServeConfig, listen, serve
from pbrl.queries.human.web.links import invitation_link


@dataclass(frozen=True, kw_only=True)
class ServeOptions(StudyOptions):
    """Serve a study until Ctrl-C; nothing that was answered is lost, however it ends.

    With --database-url every study of that database is served.

    Attributes:
        host: address to listen at.
        port: to listen at.
        expose: let other machines in: needed for a host other than loopback.
        url: what browsers call the server by, where a proxy with TLS stands in front.
        draw_clips: draw clips beside serving; without it another server of the study has to.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    expose: bool = False
    url: str | None = None
    draw_clips: bool = True


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label serve` with the words after it.

    Raises:
        ValueError: if there is no such study, the port is taken, or other machines would be let in
            unasked.
    """
    options = tyro.cli(ServeOptions, args=list(arguments), prog="pbrl label serve")
    config = ServeConfig(
        folder=options.place.folder,
        database_url=options.place.url,
        host=options.host,
        port=options.port,
        expose=options.expose,
        url=options.url,
        draws_clips=options.draw_clips,
    )
    with opened(options.place, writes=False):
        pass  # it is there
    sock = listen(config)
    console = Console(soft_wrap=True)
    if config.warning is not None:
        console.print(f"warning: {config.warning}", markup=False)
    link = invitation_link(config.public_url, "...")
    console.print(
        f"serving {options.name} at {config.public_url} (invitations: {link}); Ctrl-C ends it",
        markup=False,
        highlight=False,
    )
    serve(config, sock)
