import itertools
import os
import uuid

import numpy as np
import pytest
from sqlalchemy import create_engine, text, update

from pbrl.queries.human import (
    Database,
    NewQuery,
    RecordedSegment,
    StudyConfig,
    add_queries,
    create_study,
    hand_out,
    invite,
    record_answer,
    sqlite_url,
    tables,
)

POSTGRESQL = "PBRL_TEST_POSTGRESQL"


def postgresql_url():
    """The address of a schema of its own in the PostgreSQL that the environment names."""
    server = os.environ.get(POSTGRESQL)
    if not server:
        pytest.skip(f"{POSTGRESQL} names no PostgreSQL; `.ci/postgresql start FOLDER` starts one")
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:", 1))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    return f"{server}?options=-csearch_path%3D{schema}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The address of an empty database of either kind."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "study.db")
    return postgresql_url()


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    yield database
    database.close()


def make_segment(seed=0, *, num_steps=5, observation_dim=3, action_dim=2, **fields):
    rng = np.random.default_rng(seed)
    return RecordedSegment(
        observations=rng.normal(size=(num_steps, observation_dim)).astype(np.float32),
        actions=rng.uniform(-1, 1, size=(num_steps, action_dim)).astype(np.float32),
        **fields,
    )


class Bench:
    """A study on a database, with a clock, for tests that label."""

    def __init__(self, database, **config):
        self.database = database
        self.now = 1_000.0
        self._keys = itertools.count()
        config = {"gold_every": 0, "repeat_every": 0, "lease_seconds": 60} | config
        with database.writing() as connection:
            self.study = create_study(connection, "hop", StudyConfig(**config))

    def ask(self, number, *, gold=None, prefix="query"):
        """Add queries that can be shown at once."""
        size = self.study.config.num_segments
        queries = [
            NewQuery(
                key=f"{prefix} {row}",
                segments=[
                    make_segment([len(prefix), row, place], episode=row, start=place)
                    for place in range(size)
                ],
                asked_at=10 * row,
                gold=gold,
            )
            for row in range(number)
        ]
        with self.database.writing() as connection:
            added = add_queries(connection, self.study, queries)
            connection.execute(update(tables.query).values(is_ready=True))
        return added

    def invite(self, name, role="annotator"):
        with self.database.writing() as connection:
            return invite(connection, self.study.id, name, role)[0]

    def next(self, person, number=1):
        with self.database.writing() as connection:
            return hand_out(connection, person, now=self.now, number=number)

    def answer(self, person, assignment, value, *, key=None):
        key = key or f"key {next(self._keys)}"
        with self.database.writing() as connection:
            return record_answer(
                connection, person, assignment.id, value, key=key, now=self.now, seconds=1.5
            )

    def label(self, person, choose):
        """Answer the next query by `choose(assignment)`; None if there is no query."""
        assignments = self.next(person)
        if not assignments:
            return None
        self.answer(person, assignments[0], choose(assignments[0]))
        return assignments[0]

    def wait(self, seconds):
        self.now += seconds


@pytest.fixture
def make_bench(database):
    return lambda **config: Bench(database, **config)


@pytest.fixture
def bench(make_bench):
    return make_bench()


@pytest.fixture
def sqlite_bench(tmp_path):
    """Benches on SQLite alone, for what does not depend on the database."""
    databases = []

    def make(**config):
        databases.append(Database(sqlite_url(tmp_path / f"study{len(databases)}.db")))
        return Bench(databases[-1], **config)

    yield make
    for database in databases:
        database.close()


@pytest.fixture(name="make_segment", scope="session")
def make_segment_fixture():
    return make_segment
