import importlib
import json
from pathlib import Path

import pytest
import torch

from pbrl.feedback import FeedbackStore
from pbrl.replay import ReplayBuffer

FOLDER = Path(__file__).parents[2] / "benchmarks"
STEPS = 30


@pytest.fixture
def script(monkeypatch):
    pytest.importorskip("ot", reason="POT is an extra")
    monkeypatch.syspath_prepend(FOLDER)
    program = importlib.import_module("transfer")
    monkeypatch.setattr(program, "STEPS", 6)
    monkeypatch.setattr(program, "SOURCE_LABELS", (40,))
    monkeypatch.setattr(program, "PAIRS", (("near", "far"),))
    monkeypatch.setattr(program, "TARGET_LABELS", 50)
    return program


def walks(seed: int, scale: float) -> ReplayBuffer:
    """Episodes along a line, of which every later step is worth more."""
    draws = torch.Generator().manual_seed(seed)
    number = 20
    places = torch.linspace(0, 1, STEPS + 1).expand(number, -1)
    observations = torch.stack([scale * places, torch.zeros_like(places)], -1)
    observations = observations + 0.01 * torch.randn(observations.shape, generator=draws)
    return ReplayBuffer.from_episodes(
        observations=observations[:, :-1].flatten(0, 1),
        actions=torch.zeros(number * STEPS, 1),
        true_rewards=places[:, :-1].flatten(),
        last_observations=observations[:, -1],
        lengths=torch.full((number,), STEPS),
        terminated=torch.zeros(number, dtype=torch.bool),
    )


def row(**changes):
    given = {
        "source": "near", "target": "far", "source_labels": 40, "arm": "none", "seed": 0,
        "accuracy": 0.75, "accuracy_of_all": 0.7, "labels": 50, "alignments": 2, "mirrored": 0,
        "is_doubted": False, "later": 1.0, "as_later": 0.9, "cpu_seconds": 30.0,
    }  # fmt: skip
    return given | changes


def test_the_share_of_right_labels_by_hand(script):
    # Of the pairs (0, 1) is right, (0, 2) tied and (1, 2) wrong; 3 returns as much as 2.
    labels = torch.tensor(
        [[0.5, 1.0, 0.5, 0.9], [0.0, 0.5, 0.2, 0.9], [0.5, 0.8, 0.5, 0.9], [0.1, 0.1, 0.1, 0.5]]
    )
    returns = torch.tensor([0.0, 1.0, 2.0, 2.0])
    assert script.share_right(labels[:3, :3], returns[:3]) == 0.5
    assert script.share_right(labels, returns) == 0.75


def test_labels_and_rows_of_every_arm(script, tmp_path):
    options = script.Options(labels=tmp_path, seeds=2, label_seeds=1)
    datasets = {"near": walks(0, 1.0), "far": walks(1, -3.0)}
    rows = [one for seed in range(2) for one in script.run_seed(options, datasets, seed)]
    assert [(one["seed"], one["arm"]) for one in rows] == [
        (seed, arm) for seed in (0, 1) for arm in script.ARMS
    ]
    assert {one["source_labels"] for one in rows} == {40}
    anchored = [one for one in rows if one["arm"] == "time"]
    for one in anchored:
        assert one["accuracy"] > 0.95
        assert (one["alignments"], one["mirrored"], one["is_doubted"]) == (2, 0, False)
        assert one["later"] == 1.0
        assert one["as_later"] == one["accuracy_of_all"]
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.npz"))
    assert files == ["far/near-40-0.npz", "far/near-40-progress-0.npz", "far/true-50-0.npz"]
    carried, _, true = (FeedbackStore.load(tmp_path / name).labelled() for name in files)
    assert len(carried) == anchored[0]["labels"] <= 50
    assert len(true) == 50
    returns = datasets["far"].gather(true.index).true_returns()
    assert torch.equal(true.labels > 0.5, returns[:, 1] > returns[:, 0])


def test_shuffled_answers_are_those_of_other_pairs(script):
    near, far = walks(0, 1.0), walks(1, -3.0)
    right, spoilt = (
        script.carry(near, far, arm, 40, 5) for arm in (script.ARMS[1], script.ARMS[3])
    )
    assert torch.equal(right.segments.start, spoilt.segments.start)
    assert not torch.equal(right.labels, spoilt.labels)


def test_a_line_of_the_table_by_hand(script):
    rows = [
        row(),
        row(seed=1, accuracy=0.25, accuracy_of_all=0.4, mirrored=1, is_doubted=True),
        {name: row(seed=2)[name] for name in ("source", "target", "source_labels", "arm", "seed")}
        | {"refused": "it tells nothing"},
    ]
    line = script.table(rows).splitlines()[2]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "near, far", "40", "none", "50% (25%)", "55%", "1 of 2, 1 refused", "1 of 4", "1 of 2",
        "100%", "90%",
    ]  # fmt: skip
    assert "refused" in script.table(rows[2:])


def test_the_page_keeps_what_else_stands_there(script, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n\nBefore.\n")
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"rows": [row(), row(seed=1)], "machine": {"cpu": "one"}}))
    for _ in range(2):
        script.main(script.Options(record=record, page=page, page_only=True))
    text = page.read_text()
    assert text.startswith("# Title\n\nBefore.\n")
    assert text.count("| near, far |") == 1
    assert "2 seeds, segments of 6 steps, 50 labels written at most, 1 minutes of one core" in text
