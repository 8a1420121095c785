import importlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.offline.labels.builders import clean_offline_rlhf, pair_arrays, pairs_file

FOLDER = Path(__file__).parents[2] / "benchmarks"
MARKERS = "<!-- suite {0} -->\nold\n<!-- end of suite {0} -->\n"


@pytest.fixture
def labels(monkeypatch):
    """Return the module of the benchmark, as the script sees it."""
    monkeypatch.syspath_prepend(FOLDER)
    module = importlib.import_module("labels")
    monkeypatch.setattr(module, "TASKS", ("hopper",))
    quick = partial(module.ReportOptions, passes=1, members=1, hidden_sizes=(8,))
    monkeypatch.setattr(module, "ReportOptions", quick)
    return module


@pytest.fixture
def data(tmp_path, labels):
    """Return a folder laid out as the published files are."""
    folder = tmp_path / "data"
    clean_offline_rlhf(folder / labels.CROWD / "hopper-medium-v2_human_labels")
    one_hot = [[1.0, 0.0], [1.0, 0.0], [0.5, 0.5]]
    clean_offline_rlhf(folder / labels.SCRIPT / "hopper-medium-v2_fake_labels", labels=one_hot)
    clean_offline_rlhf(folder / labels.CROWD / "pen_human_labels", first=(1, 2, 3))
    clean_offline_rlhf(folder / labels.SCRIPT / "pen_fake_labels", labels=one_hot)
    for who in ("human", "script"):
        arrays = pair_arrays(num_queries=20) | {"label": np.resize([1.0, 0.0], 20)}
        pairs_file(folder / labels.PAIRS / "hopper" / f"num100_{who}_train.npz", **arrays)
    return folder


def test_records_and_tables_are_made_and_made_again_from_the_records(tmp_path, labels, data):
    page = tmp_path / "labels.md"
    page.write_text("Before.\n" + "".join(map(MARKERS.format, labels.SECTIONS)) + "After.\n")
    labels.main(data, records=tmp_path / "records", page=page, splits=1)
    text = page.read_text()
    assert text.startswith("Before.\n<!-- suite label-agreement -->\n| task ")
    assert "| hopper-medium-v2 | 1          | 1           | 2            | 0.500     |" in text
    assert "No pairs in common: pen." in text
    assert "| hopper, script |" in text
    assert text.endswith("After.\n")
    assert "old" not in text
    record = json.loads((tmp_path / "records" / "hopper.json").read_text())
    # Files are named as everybody has them, wherever the folder lies.
    assert list(record["held_out"]) == [
        "human_pairs/hopper/num100_human_train.npz",
        "human_pairs/hopper/num100_script_train.npz",
    ]
    page.write_text(text.replace("0.500", "?"))
    labels.main(data, records=tmp_path / "records", page=page, only_tables=True)
    assert page.read_text() == text
