"""What the words of `pbrl label study` have in common: a study that is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from sqlalchemy import Connection

from pbrl.queries.human.places import STUDIES, StudyPlace
from pbrl.queries.human.studies import Study, find_study


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Which study.

    Attributes:
        name: of the study.
        studies: folder of all studies.
        database_url: of a PostgreSQL, if the study is in one.
    """

    name: Annotated[str, tyro.conf.Positional]
    studies: Path = STUDIES
    database_url: str | None = None

    @property
    def place(self) -> StudyPlace:
        """Where the study lies."""
        return StudyPlace(name=self.name, studies=self.studies, database_url=self.database_url)


@contextmanager
def opened(place: StudyPlace, *, writes: bool) -> Iterator[tuple[Connection, Study]]:
    """Open a study in one transaction.

    Raises:
        ValueError: if there is none.
    """
    database = place.open()
    try:
        with database.writing() if writes else database.reading() as connection:
            yield connection, find_study(connection, place.name)
    finally:
        database.close()
