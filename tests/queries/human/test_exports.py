import csv
import io
import json

import numpy as np
import pytest

from pbrl.graded_file import load_graded
from pbrl.offline.labels.segment_files import read_pairs
from pbrl.queries.human.exports import (
    answer_table,
    table_as_csv,
    table_as_parquet,
    write_graded,
    write_pairs,
)


@pytest.fixture
def labelled(make_bench):
    bench = make_bench(gold_every=2)
    bench.ask(3)
    bench.ask(1, gold={"label": 1}, prefix="gold")
    ada = bench.invite("ada")
    for value in ({"label": 0.5}, None, {"label": 0.5}, {"label": 0}):
        bench.label(ada, lambda _, value=value: value)
    return bench


def table_of(bench):
    with bench.database.reading() as connection:
        return answer_table(connection, bench.study)


def test_one_row_for_each_answer(labelled):
    table = table_of(labelled)
    assert [row["purpose"] for row in table] == ["plain", "plain", "gold", "plain"]
    assert [row["label"] for row in table[:3]] == [0.5, "skip", 0.5]
    assert [row["answer"] for row in table[:3]] == ["equal", "can't tell", "equal"]
    assert table[2]["gold"] == '{"label": 1.0}'
    assert (table[3]["episode_0"], table[3]["start_1"], table[3]["length_1"]) == (2, 1, 5)
    assert table[0]["time"] == "1970-01-01T00:16:40+00:00"


def test_csv_reads_back(labelled):
    rows = list(csv.DictReader(io.StringIO(table_as_csv(table_of(labelled)))))
    assert len(rows) == 4
    assert json.loads(rows[1]["value"]) is None
    assert rows[0]["annotator"] == "ada"
    assert table_as_csv([]) == ""


def test_parquet_reads_back(labelled):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(table_as_parquet(table_of(labelled)))).to_pylist()
    assert [row["label"] for row in table][:2] == ["0.5", "skip"]
    assert [row["seconds"] for row in table] == [1.5] * 4


def test_pairs_hold_their_segments(labelled, tmp_path):
    path = tmp_path / "pairs.npz"
    with labelled.database.reading() as connection:
        assert write_pairs(connection, labelled.study, path) == 2
    segments, labels = read_pairs(path)
    assert segments.observations.shape == (4, 5, 3)
    assert labels.labels[0] == 0.5
    assert np.isin(labels.labels, [0, 0.5, 1]).all()
    assert set(labels.annotators) == {"ada"}
    assert labels.weights.tolist() == [1.0, 1.0]
    with labelled.database.reading() as connection:
        write_pairs(connection, labelled.study, path, "majority")
    assert set(read_pairs(path)[1].annotators) == {"majority"}


def test_rankings_and_ratings_hold_their_segments(sqlite_bench, tmp_path):
    bench = sqlite_bench(kind="ranking", ranking_size=3)
    bench.ask(2)
    ada = bench.invite("ada")
    # Own places, the best first: 2, 0, 1.
    bench.label(ada, lambda one: {"ranking": [one.order.index(place) for place in (2, 0, 1)]})
    bench.label(ada, lambda _: None)
    path = tmp_path / "ranked.npz"
    with bench.database.reading() as connection:
        assert write_graded(connection, bench.study, path) == 1
        graded = load_graded(path)
        assert write_pairs(connection, bench.study, path) == 3
    assert graded.grades.tolist() == [[1.0, 0.0, 2.0]]
    assert graded.index.shape == (1, 3)
    assert (graded.num_classes, graded.annotators) == (None, ("ada",))
    assert read_pairs(path)[1].labels.tolist() == [0.0, 1.0, 1.0]  # 0 > 1, 2 > 0, 2 > 1
    assert read_pairs(path)[1].annotators == ("ada",) * 3
    bench = sqlite_bench(kind="rating")
    bench.ask(2)
    ben = bench.invite("ben")
    bench.label(ben, lambda _: {"rating": 3})
    with bench.database.reading() as connection:
        assert write_graded(connection, bench.study, path) == 1
        with pytest.raises(ValueError, match="ratings of single segments"):
            write_pairs(connection, bench.study, path)
    graded = load_graded(path)
    assert (graded.grades.tolist(), graded.num_classes) == ([3.0], 4)
    assert graded.replay.gather(graded.index).observations.shape == (1, 5, 3)


def test_pairs_have_no_grades(labelled, tmp_path):
    with (
        pytest.raises(ValueError, match="has pairs, which have no grades"),
        labelled.database.reading() as connection,
    ):
        write_graded(connection, labelled.study, tmp_path / "x.npz")


def test_no_labels_make_no_pairs(bench, tmp_path):
    bench.ask(1)
    with (
        pytest.raises(ValueError, match="no labels yet"),
        bench.database.reading() as connection,
    ):
        write_pairs(connection, bench.study, tmp_path / "pairs.npz")
