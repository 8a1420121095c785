import builtins
import math

import numpy as np
import pytest

from pbrl.offline.labels import load_feedback, load_pairs, load_preferences, read_labels
from pbrl.offline.labels.csv_files import read_csv
from pbrl.offline.labels.export import export_labels
from pbrl.offline.labels.summary import select
from tests.offline.labels.builders import make_dataset, pairs_file, preference_transformer


@pytest.fixture
def table(tmp_path):
    return read_labels(preference_transformer(tmp_path / "hopper-medium-v2"))


def test_rows_are_written_as_rows_and_with_the_dataset_as_episodes(tmp_path, table):
    export_labels(table, tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text().splitlines()[:2] == [
        "start_0,start_1,length,label,weight,annotator",
        "0,20,5,0,1.0,human",
    ]
    export_labels(table, tmp_path / "episodes.csv", make_dataset())
    found = read_csv(tmp_path / "episodes.csv")
    assert found.segments.tolist()[1] == [[0, 5, 5], [1, 5, 5]]
    assert found.labels.tolist() == [0.0, 1.0, 0.5]


def test_a_record_is_written_with_its_refusals_and_times(tmp_path):
    path = tmp_path / "labels.csv"
    header = "episode_0,start_0,length_0,episode_1,start_1,length_1,label,weight,annotator"
    path.write_text(f"{header}\n0,1,5,1,2,5,skip,1,ann\n1,0,9,0,0,9,0.3,2,bob\n")
    load_feedback(path, make_dataset()).save(tmp_path / "record.npz")
    export_labels(read_labels(tmp_path / "record.npz"), tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == f"{header},time"
    assert lines[1].startswith("0,1,5,1,2,5,skip,1.0,ann,1")
    assert lines[2].startswith("1,0,9,0,0,9,0.300000012,2.0,bob,1")
    again = read_csv(tmp_path / "out.csv")
    assert math.isnan(again.labels[0])
    assert again.labels[1] == pytest.approx(0.3)


def test_parquet_has_the_same_columns(tmp_path, table):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")
    table.labels[2] = math.nan
    export_labels(table, tmp_path / "labels.parquet")
    columns = parquet.read_table(tmp_path / "labels.parquet").to_pydict()
    assert columns["start_1"] == [20, 25, 30]
    assert columns["label"] == [0.0, 1.0, None]
    assert columns["annotator"] == ["human"] * 3


def test_parquet_without_pyarrow_names_the_extra(tmp_path, table, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'pbrl\[parquet\]'"):
        export_labels(table, tmp_path / "labels.parquet")
    assert not (tmp_path / "labels.parquet").exists()


def test_pairs_hold_the_segments_and_are_read_like_those_of_others(tmp_path, table):
    dataset = make_dataset()
    table.labels[1] = math.nan
    export_labels(table, tmp_path / "pairs.npz", dataset)
    found = load_pairs(tmp_path / "pairs.npz")
    original = load_preferences_without_skips(table, dataset)
    labelled = found.preferences.labelled
    assert labelled.labels.tolist() == original.labels.tolist() == [0.0, 0.5]
    ours = found.dataset.replay.gather(labelled.index)
    theirs = dataset.replay.gather(original.index)
    np.testing.assert_array_equal(ours.observations, theirs.observations)
    np.testing.assert_array_equal(ours.actions, theirs.actions)


def load_preferences_without_skips(table, dataset):
    from pbrl.offline.labels.join import to_preferences

    return to_preferences(select(table, ~np.isnan(table.labels)), dataset).labelled


def test_pairs_in_and_out(tmp_path):
    path = pairs_file(tmp_path / "pairs.npz")
    data = load_pairs(path)
    export_labels(read_labels(path), tmp_path / "labels.csv", data.dataset)
    again = load_preferences(tmp_path / "labels.csv", data.dataset)
    assert again.labelled.index.episode.tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ValueError, match="holds its segments itself: export it with its dataset"):
        export_labels(read_labels(path), tmp_path / "labels.csv")


def test_what_cannot_be_written(tmp_path, table):
    with pytest.raises(ValueError, match=r"as .csv, .parquet, .npz, found '.xlsx' in"):
        export_labels(table, tmp_path / "labels.xlsx")
    with pytest.raises(ValueError, match="it needs the dataset of"):
        export_labels(table, tmp_path / "pairs.npz")
    table.segments[0, :, 1] = 4
    with pytest.raises(ValueError, match=r"one length .* found the lengths \[4, 5\]"):
        export_labels(table, tmp_path / "pairs.npz", make_dataset())
    table.segments[0, 0, 1] = 3
    with pytest.raises(ValueError, match="two segments of a query have different lengths"):
        export_labels(table, tmp_path / "labels.csv")
    assert not list(tmp_path.glob("*.csv"))
