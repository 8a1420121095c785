"""A labelling database: SQLite in WAL mode, or PostgreSQL where several machines write."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from pbrl.queries.human import tables

BUSY_SECONDS = 30
POOL_SIZE = 10
POSTGRESQL = "postgresql+psycopg"


def sqlite_url(path: Path) -> str:
    """Return the address of a database file."""
    return f"sqlite:///{path.resolve().as_posix()}"


class Database:
    """Transactions on a labelling database; its tables are made when they are missing.

    A transaction that `writing` has left is on the disk: SQLite synchronises at every commit, as
    PostgreSQL does by default.

    Args:
        url: `sqlite:///file` or `postgresql://user@host/name`.

    Raises:
        ValueError: if the address is of neither kind, or the tables are of another version.
    """

    def __init__(self, url: str) -> None:
        try:
            address = make_url(url)
        except (ArgumentError, ValueError):  # the address may hold a password: it is not repeated
            raise ValueError(
                "a database address looks like postgresql://user:password@host:5432/name or "
                "sqlite:///file"
            ) from None
        if address.drivername in ("postgresql", "postgres"):
            address = address.set(drivername=POSTGRESQL)
        if address.drivername not in ("sqlite", POSTGRESQL):
            raise ValueError(
                "a database address starts with sqlite:/// or postgresql://, "
                f"got {address.drivername}"
            )
        self.is_sqlite = address.drivername == "sqlite"
        self._engine = create_engine(address, pool_size=POOL_SIZE, max_overflow=POOL_SIZE)
        # Writers of this process wait here in turn, which is fairer than SQLite's own polling.
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()
        if self.is_sqlite:
            _prepare_sqlite(self._engine)
        self._writer = self._engine.execution_options(writes=True)
        self._make_tables()

    def _make_tables(self) -> None:
        with self.writing() as connection:
            if not self.is_sqlite:  # two processes that start at once make the tables once
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7265)")
            tables.metadata.create_all(connection)
            version = connection.execute(select(tables.schema.c.version)).scalar()
            if version is None:
                connection.execute(insert(tables.schema).values(version=tables.SCHEMA_VERSION))
            elif version != tables.SCHEMA_VERSION:
                raise ValueError(
                    f"the database has tables of version {version}; this program needs "
                    f"{tables.SCHEMA_VERSION}"
                )

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that may write; it is durable once left, undone by an error."""
        with self._turn, self._writer.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the database and waits for no writer."""
        with self._engine.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def insert_row(connection: Connection, table: Table, **values: Any) -> int:
    """Insert a row and return its number."""
    key = connection.execute(insert(table).values(**values)).inserted_primary_key
    assert key is not None  # every table here has one
    return int(key[0])


def _prepare_sqlite(engine: Engine) -> None:
    """Let every commit reach the disk, and a transaction that writes say so when it starts."""

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={BUSY_SECONDS * 1000}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
