"""`pbrl label study revoke`: take somebody's link back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from pbrl.commands.label.study.opened import StudyOptions, opened
from pbrl.lookup import look_up
from pbrl.queries.human.people import list_people, revoke


@dataclass(frozen=True, kw_only=True)
class RevokeOptions(StudyOptions):
    """Take somebody's link back; what they answered stays.

    Attributes:
        person: the name.
    """

    person: Annotated[str, tyro.conf.Positional]


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label study revoke` with the words after it."""
    options = tyro.cli(RevokeOptions, args=list(arguments), prog="pbrl label study revoke")
    with opened(options.place, writes=True) as (connection, study):
        people = {person.name: person.id for person in list_people(connection, study.id)}
        revoke(connection, study.id, look_up("person", options.person, people))
    Console().print(f"the link of {options.person} no longer works", markup=False)
