import csv
import io
import json

import numpy as np
import pytest

from pbrl.offline.labels.segment_files import read_pairs
from pbrl.queries.human.exports import answer_table, table_as_csv, table_as_parquet, write_pairs


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


def test_no_labels_make_no_pairs(bench, tmp_path):
    bench.ask(1)
    with (
        pytest.raises(ValueError, match="no labels yet"),
        bench.database.reading() as connection,
    ):
        write_pairs(connection, bench.study, tmp_path / "pairs.npz")
