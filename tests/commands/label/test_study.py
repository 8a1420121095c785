import re
import socket
import subprocess
import sys

import pytest

from pbrl.commands.label import main
from pbrl.commands.label.study.opened import opened
from pbrl.feedback import FeedbackStore
from pbrl.graded_file import load_graded
from pbrl.offline.labels import load_pairs, load_preferences, read_labels
from pbrl.offline.load import load_dataset
from pbrl.queries.human import hand_out, record_answer, tables
from pbrl.queries.human.people import find_by_token
from pbrl.queries.human.places import StudyPlace
from pbrl.queries.human.serving import ServeConfig
from tests.offline.labels.builders import pair_arrays, pairs_file

HIDDEN = "http://127.0.0.1:8000/join#"


@pytest.fixture
def pairs(tmp_path):
    return pairs_file(tmp_path / "pairs.npz", **pair_arrays(num_queries=12))


@pytest.fixture
def study(tmp_path, pairs, monkeypatch, capsys):
    """Runs words of `pbrl label study` in a folder; a study `hop` of twelve pairs is there."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        main(["study", *words])
        return capsys.readouterr().out

    run.created = run(
        "create", "hop", "--pairs", str(pairs), "--study.task", "Hop", "--study.repeat-every", "0",
        "--study.labels-per-query", "2", "--invite", "ada", "ben",
    )  # fmt: skip
    run.token = lambda name: re.search(f"  {name}: {re.escape(HIDDEN)}(.+)", run.created)[1]
    return run


def label(study, name, choose, number=12, of="hop"):
    """Let somebody answer by `choose(assignment)`, in the order shown."""
    with opened(StudyPlace(name=of), writes=True) as (connection, _):
        person = find_by_token(connection, study.token(name))
        connection.execute(tables.query.update().values(is_ready=True))  # as if all were drawn
        for row in range(number):
            (task,) = hand_out(connection, person, now=1_000.0 + row)
            record_answer(
                connection, person, task.id, choose(task), key=f"{row}", now=1_000.0 + row
            )


def second(task):
    """Prefer the second segment of the query, wherever it is shown."""
    return {"label": float(task.order.index(1))}


def test_a_study_is_made_of_a_file_and_people(study):
    assert "study hop: 12 queries, in studies/hop" in study.created
    assert "serve it: pbrl label serve hop" in study.created
    with opened(StudyPlace(name="hop"), writes=False) as (connection, found):
        assert (found.config.task, found.config.labels_per_query) == ("Hop", 2)
        assert find_by_token(connection, study.token("owner")).role == "owner"
        assert find_by_token(connection, study.token("ada")).role == "annotator"
    kept = b"".join(path.read_bytes() for path in StudyPlace(name="hop").folder.iterdir())
    assert study.token("ada").encode() not in kept


def test_gold_questions_and_a_limit(study, pairs):
    out = study("create", "gold", "--pairs", str(pairs), "--limit", "5", "--gold", "3",
                "--gold-file", str(pairs))  # fmt: skip
    assert "study gold: 8 queries" in out
    assert "0 of 5 answers" in study("report", "gold")


def test_queries_of_other_kinds_are_drawn_from_a_dataset(study, pairs):
    out = study("create", "rate", "--dataset", str(pairs), "--study.kind", "rating",
                "--draw.num-queries", "4", "--draw.segment-length", "3")  # fmt: skip
    assert "study rate: 4 queries" in out


def test_a_study_for_a_training_run_starts_empty(study):
    assert "study live: 0 queries" in study("create", "live")


def test_links_come_and_go(study):
    old = study.token("ada")
    study.created = study("invite", "hop", "ada", "eve", "--url", "http://127.0.0.1:8000")
    assert study.token("ada") != old
    with opened(StudyPlace(name="hop"), writes=False) as (connection, _):
        assert find_by_token(connection, study.token("eve")).name == "eve"
        with pytest.raises(ValueError, match="not valid"):
            find_by_token(connection, old)
    assert "the link of eve no longer works" in study("revoke", "hop", "eve")
    with (
        opened(StudyPlace(name="hop"), writes=False) as (connection, _),
        pytest.raises(ValueError, match="not valid"),
    ):
        find_by_token(connection, study.token("eve"))
    out = study("invite", "hop", "robot", "--role", "program", "--url", "https://labels.example")
    assert "robot: https://labels.example/join#" in out


def test_the_report(study):
    label(study, "ada", second)
    label(study, "ben", lambda task: second(task) if task.query_id != 1 else None)
    report = study("report", "hop")
    assert "hop (open): 24 of 24 answers, 12 of 12 queries done" in report
    assert "23 second, 1 can't tell" in report
    assert re.search(r"\| ben +\| 12 +\| 1 ", report)
    assert "Krippendorff's alpha" in report


def test_what_people_said_goes_back_into_learning(study, tmp_path):
    """Exported labels are read by the loaders of `pbrl fit` and `pbrl label`."""
    label(study, "ada", second)
    label(study, "ben", second, number=3)
    assert "15 labelled pairs" in study("export", "hop", "out/each.npz")
    assert "12 labelled pairs" in study("export", "hop", "one.npz", "--aggregate", "majority")
    loaded = load_pairs(tmp_path / "one.npz")
    assert loaded.preferences.labelled.labels.tolist() == [1.0] * 12
    assert set(read_labels(tmp_path / "out" / "each.npz").annotators) == {"ada", "ben"}
    study("export", "hop", "weighed.npz", "--aggregate", "reliability")
    record = study("export", "hop", "w.npz", "--aggregate", "reliability", "--holds", "record")
    assert "15 labels" in record
    weights = FeedbackStore.load(tmp_path / "w.npz").labelled().weights
    assert read_labels(tmp_path / "weighed.npz").weights.tolist() == pytest.approx(weights.tolist())
    assert "15 labels of 12 queries" in study("export", "hop", "r.npz", "--holds", "record")
    assert FeedbackStore.load(tmp_path / "r.npz").num_labelled == 15
    assert "15 answers" in study("export", "hop", "answers.csv")
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 16
    assert "15 answers" in study("export", "hop", "answers.parquet")


def test_a_record_goes_with_the_dataset_that_was_drawn_from(study, pairs, tmp_path):
    study.created = study("create", "drawn", "--dataset", str(pairs), "--invite", "ada",
                          "--draw.num-queries", "6", "--draw.segment-length", "3")  # fmt: skip
    label(study, "ada", second, number=6, of="drawn")
    study("export", "drawn", "record.npz", "--holds", "record")
    preferences = load_preferences(tmp_path / "record.npz", load_dataset(str(pairs)))
    assert preferences.labelled.labels.tolist() == [1.0] * 6
    assert preferences.labelled.index.length.tolist() == [[3, 3]] * 6
    other = pairs_file(tmp_path / "other.npz", **pair_arrays(num_queries=12, seed=1))
    with pytest.raises(ValueError, match="the labels are of another dataset"):
        load_preferences(tmp_path / "record.npz", load_dataset(str(other)))


def test_a_record_of_listed_pairs_names_the_segments_of_their_file(study, tmp_path):
    arrays = pair_arrays(num_queries=4)
    for name in ("obs", "action"):  # a segment that is there twice is one episode of the file
        arrays[f"{name}_1"][2] = arrays[f"{name}_2"][0]
    twice = pairs_file(tmp_path / "twice.npz", **arrays)
    study.created = study("create", "twice", "--pairs", str(twice), "--invite", "ada")
    label(study, "ada", second, number=4, of="twice")
    study("export", "twice", "record.npz", "--holds", "record")
    dataset, own = load_pairs(twice)
    found = load_preferences(tmp_path / "record.npz", dataset).labelled
    assert found.index.episode.tolist() == own.labelled.index.episode.tolist()
    assert len(found.index.episode.unique()) == 7


def test_rankings_are_exported_with_grades_and_as_pairs(study, pairs, tmp_path):
    study.created = study("create", "rank", "--dataset", str(pairs), "--invite", "ada",
                          "--study.kind", "ranking", "--study.ranking-size", "3",
                          "--draw.num-queries", "2", "--draw.segment-length", "3")  # fmt: skip
    label(
        study,
        "ada",
        lambda task: {"ranking": [task.order.index(place) for place in (1, 0, 2)]},
        number=2,
        of="rank",
    )
    assert "2 rankings" in study("export", "rank", "graded.npz")
    assert load_graded(tmp_path / "graded.npz").grades.tolist() == [[1.0, 2.0, 0.0]] * 2
    assert "6 labelled pairs" in study("export", "rank", "pairs2.npz", "--holds", "pairs")
    assert load_pairs(tmp_path / "pairs2.npz").preferences.labelled.labels.tolist() == [1, 0, 0] * 2


def test_an_export_is_fitted(study, tmp_path, capsys):
    from pbrl.commands.fit import main as fit

    label(study, "ada", second)
    study("export", "hop", "labels.npz")
    fit(["labels.npz", "--agent", "cpl", "--steps", "3", "--out", "run"])
    assert (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "hop"], "there is a study 'hop' already"),
        (["create", "../out"], "the name of a study has 1 to 64"),
        (["create", "new", "--pairs", "nowhere.npz"], "nowhere.npz"),
        (["create", "new", "--pairs", "pairs.npz", "--study.kind", "rating"], "draws from a datas"),
        (["create", "new", "--database-url", "mysql://x/y"], "starts with sqlite:/// or postgres"),
        (["create", "new", "--database-url", "postgresql://u:secret@h:x/"], "looks like postgres"),
        (["create", "new", "--database-url", "postgresql://u@127.0.0.1:1/x"], "cannot be opened"),
        (["report", "hopp"], r"no study 'hopp' in the folder studies; did you mean 'hop'\?"),
        (["revoke", "hop", "adda"], "did you mean 'ada'"),
        (["invite", "hop", "=cmd()"], "a name has 1 to 60"),
        (["export", "hop", "x.npz"], "study hop has no labels yet"),
    ],
)
def test_what_cannot_be_is_refused(study, tmp_path, words, message):
    with pytest.raises((ValueError, OSError), match=message) as error:
        study(*words)
    assert "secret" not in str(error.value)
    assert "sqlalche" not in str(error.value)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "studies" / "new").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "new", "--study.env", "gym/Hoper-v5"], "did you mean"),
        (["create", "new", "--limit", "0"], "limit must be at least 1"),
        (["create", "new", "--gold", "3"], "need both --gold and"),
        (["create", "new", "--pairs", "a", "--dataset", "b"], "not from both"),
        (["create", "new", "--invite", "ada", "ada"], "names that differ"),
        (["create", "new", "--invite", "owner"], "which is"),
        (["create", "new", "--url", "ftp://x"], "url must be http"),
        (["invite", "hop"], "name the people"),
        (["export", "hop", "x.txt"], "out must end in"),
    ],
)
def test_wrong_options_are_refused(study, words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        study(*words)
    assert stop.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hopp"], "did you mean 'hop'"),
        (["hop", "--host", "0.0.0.0"], "say --expose if that is meant"),
        (["hop", "--host", "labels.example"], "say --expose"),
        (["hop", "--port", "70000"], "port must be 1 to 65535"),
        (["hop", "--url", "labels.example"], "url must be http"),
        (["hop", "--database-url", "sqlite:///nowhere/x.db"], "unable to open database file"),
    ],
)
def test_serving_what_cannot_be_is_refused(study, words, message):
    with pytest.raises(ValueError, match=message):
        main(["serve", *words])


def test_a_taken_port_is_named(study):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port}: Address already in use.*--port"):
            main(["serve", "hop", "--port", str(port)])


def test_a_database_without_the_study_is_not_served(study, tmp_path):
    with pytest.raises(ValueError, match="there is no study 'other'"):
        main(["serve", "other", "--database-url", f"sqlite:///{tmp_path}/studies/hop/study.db"])


def test_exposing_warns_unless_there_is_tls(tmp_path):
    options = {"folder": tmp_path, "database_url": "sqlite://", "host": "0.0.0.0", "expose": True}
    assert "not encrypted" in ServeConfig(**options).warning
    assert ServeConfig(**options, url="https://labels.example").warning is None
    assert ServeConfig(folder=tmp_path, database_url="sqlite://").warning is None
    assert ServeConfig(folder=tmp_path, database_url="sqlite://", host="::1").public_url == (
        "http://[::1]:8000"
    )


def test_a_missing_extra_is_named():
    program = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from pbrl.cli import main; main(['label', 'study', 'report', 'hop'])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr == (
        "pbrl label: the package sqlalchemy is not installed: pip install 'pbrl[label]'\n"
    )
