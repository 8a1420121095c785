import threading

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import DBAPIError

from pbrl.queries.human import Database, create_study, sqlite_url, tables
from pbrl.queries.human.studies import StudyConfig, list_studies, record_event


def test_a_second_process_finds_what_the_first_wrote(database, database_url):
    with database.writing() as connection:
        create_study(connection, "hop", StudyConfig(task="hop far"))
    other = Database(database_url)
    with other.reading() as connection:
        assert [study.config.task for study in list_studies(connection)] == ["hop far"]
    other.close()


def test_an_error_undoes_the_transaction(database):
    def start_and_fail():
        with database.writing() as connection:
            create_study(connection, "hop", StudyConfig())
            raise RuntimeError

    with pytest.raises(RuntimeError):
        start_and_fail()
    with database.reading() as connection:
        assert list_studies(connection) == []


@pytest.mark.parametrize("change", ["UPDATE event SET kind = 'other'", "DELETE FROM event"])
def test_the_database_refuses_to_change_the_past(database, change):
    with database.writing() as connection:
        study = create_study(connection, "hop", StudyConfig())
        record_event(connection, study.id, "seen", {})
    with pytest.raises(DBAPIError, match="never changed or deleted"), database.writing() as c:
        c.execute(text(change))


def test_tables_of_another_version_are_refused(database, database_url):
    with database.writing() as connection:
        connection.execute(update(tables.schema).values(version=99))
    with pytest.raises(ValueError, match="tables of version 99; this program needs 1"):
        Database(database_url)


def test_many_threads_write(database):
    with database.writing() as connection:
        study = create_study(connection, "hop", StudyConfig())

    def write(number):
        for _ in range(5):
            with database.writing() as connection:
                record_event(connection, study.id, f"thread {number}", {})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as connection:
        kinds = connection.execute(select(tables.happening.c.kind)).scalars().all()
    assert len(kinds) == 41
    assert len(set(kinds)) == 9


def test_sqlite_writes_ahead_and_through(tmp_path):
    database = Database(sqlite_url(tmp_path / "study.db"))
    with database.reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    with pytest.raises(DBAPIError, match="FOREIGN KEY"), database.writing() as connection:
        connection.execute(
            insert(tables.happening).values(study_id=7, kind="x", detail={}, created_at=0.0)
        )
    database.close()


@pytest.mark.parametrize("url", ["mysql://somewhere/labels", "no address"])
def test_other_databases_are_refused(url):
    with pytest.raises(ValueError, match="database address"):
        Database(url)
