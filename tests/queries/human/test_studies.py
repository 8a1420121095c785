import pytest
from sqlalchemy import select

from pbrl.queries.human import StudyConfig, create_study, find_study, tables
from pbrl.queries.human.errors import Conflict, NotFound
from pbrl.queries.human.studies import set_state


def test_a_configuration_survives_the_database(database):
    config = StudyConfig(
        kind="ranking",
        task="hop",
        env="gym/Hopper-v5",
        ranking_size=5,
        classes=("a", "b"),
        frame_size=(100, 200),
    )
    with database.writing() as connection:
        create_study(connection, "hop", config)
    with database.reading() as connection:
        study = find_study(connection, "hop")
    assert study.config == config
    assert study.state == "open"
    assert config.num_segments == 5


@pytest.mark.parametrize(("kind", "number"), [("pair", 2), ("rating", 1), ("moment", 2)])
def test_most_kinds_fix_the_number_of_segments(kind, number):
    assert StudyConfig(kind=kind, ranking_size=7).num_segments == number


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("labels_per_query", 0),
        ("lease_seconds", 0),
        ("gold_every", -1),
        ("ranking_size", 1),
        ("ranking_size", 10),
        ("classes", ("one",)),
        ("frame_size", (101, 200)),
        ("task", "x" * 30_000),
    ],
)
def test_impossible_configurations_name_the_field(field, value):
    with pytest.raises(ValueError, match=field):
        StudyConfig(**{field: value})


@pytest.mark.parametrize("name", ["", "../escape", "a/b", "-x", "a b", "x" * 65, ".hidden"])
def test_names_are_those_of_folders(database, name):
    with pytest.raises(ValueError, match="the name of a study"), database.writing() as connection:
        create_study(connection, name, StudyConfig())


def test_a_name_is_taken_once(database):
    with database.writing() as connection:
        create_study(connection, "hop", StudyConfig())
    with pytest.raises(Conflict), database.writing() as connection:
        create_study(connection, "hop", StudyConfig())
    with pytest.raises(NotFound, match=r"\(known: hop\)"), database.reading() as connection:
        find_study(connection, "jump")


def test_states_are_written_down(bench):
    with bench.database.writing() as connection:
        set_state(connection, bench.study.id, "paused")
        kinds = connection.execute(select(tables.happening.c.kind)).scalars().all()
        assert find_study(connection, bench.study.id).state == "paused"
    assert kinds == ["created", "paused"]
