"""Where the parts of a study lie: its database, its clips and the key of its cookies."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pbrl.lookup import suggest
from pbrl.queries.human.database import Database, sqlite_url
from pbrl.queries.human.studies import check_name

STUDIES = Path("studies")
DATABASE = "study.db"


@dataclass(frozen=True, kw_only=True)
class StudyPlace:
    """Where a study lies.

    Attributes:
        name: of the study.
        studies: folder of all studies.
        database_url: of a database that holds several studies, such as a PostgreSQL; by default the
            study has an SQLite file of its own in its folder.
    """

    name: str
    studies: Path = STUDIES
    database_url: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def folder(self) -> Path:
        """Folder of the clips: the study's own, or that of all where they share a database."""
        return self.studies / self.name if self.database_url is None else self.studies

    @property
    def url(self) -> str:
        """Address of the database."""
        return self.database_url or sqlite_url(self.folder / DATABASE)

    def open(self, *, create: bool = False) -> Database:
        """Open the database.

        Args:
            create: make the folder and the file of a new study.

        Raises:
            ValueError: if there is no such study, or its database cannot be reached.
        """
        if create:
            self.folder.mkdir(parents=True, exist_ok=True)
        elif self.database_url is None and not (self.folder / DATABASE).is_file():
            names = sorted(file.parent.name for file in self.studies.glob(f"*/{DATABASE}"))
            raise ValueError(
                f"there is no study {self.name!r} in the folder {self.studies}"
                f"{suggest(self.name, names)} (known: {', '.join(names) or 'none'}); make one with "
                f"`pbrl label study create {self.name}`, or say where it is with --studies"
            )
        try:
            return Database(self.url)
        except DBAPIError as error:  # what the driver says, without a link to its library's pages
            raise ValueError(f"the database cannot be opened: {str(error.orig).strip()}") from None
        except SQLAlchemyError as error:
            raise ValueError(f"the database cannot be opened: {error}") from None
