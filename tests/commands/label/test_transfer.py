import json

import numpy as np
import pytest
import torch

from pbrl.commands.label.words import main
from pbrl.feedback import FeedbackStore
from pbrl.offline.episode_arrays import EpisodeArrays
from pbrl.offline.labels import save_scores
from pbrl.offline.load import load_dataset
from pbrl.offline.npz_episodes import save_episodes
from pbrl.pairs import ScoredSegments
from pbrl.segments import SegmentIndex
from pbrl.training.fit_config import DataConfig
from pbrl.training.fit_data import load_data
from pbrl.training.label_transfer import confidence_histogram

pytest.importorskip("ot", reason="POT is an extra")
STEPS = 8


def write_task(path, seed, *, dims, paid=True):
    """Episodes that go some way along the diagonal; what is paid is how far."""
    rng = np.random.default_rng(seed)
    episodes = []
    for way in rng.beta(1, 3, 24):
        places = way * np.linspace(0, 1, STEPS + 1)
        observations = np.repeat(places[:, None], dims, 1)
        observations = observations + 0.01 * rng.normal(size=(STEPS + 1, dims))
        episodes.append(
            EpisodeArrays(
                observations=observations.astype(np.float32),
                actions=np.zeros((STEPS, dims), np.float32),
                rewards=places[1:].astype(np.float32) * paid,
                terminated=False,
            )
        )
    save_episodes(path, episodes)
    return str(path)


@pytest.fixture
def tasks(tmp_path):
    source = write_task(tmp_path / "near.npz", 0, dims=2)
    dataset = load_dataset(source)
    whole = torch.full((24,), STEPS)
    index = SegmentIndex(torch.arange(24), torch.zeros_like(whole), whole)
    labels = tmp_path / "scores.npz"
    save_scores(
        labels,
        ScoredSegments(index, dataset.replay.gather(index).true_returns()),
        dataset.identity(),
    )
    return source, str(labels)


def test_labels_go_from_one_task_to_another(tasks, tmp_path, capsys):
    source, labels = tasks
    target = write_task(tmp_path / "far.npz", 1, dims=3)
    out = tmp_path / "made" / "far-labels.npz"
    main(["transfer", source, target, "--labels", labels, "--out", str(out), "--segments", "12",
          "--rounds", "2", "--pairs", "20", "--anchor", "progress",
          "--transport.epsilon", "0.1"])  # fmt: skip
    store = FeedbackStore.load(out)
    assert store.num_labelled == 20
    assert store.dataset == load_dataset(target).identity()
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["accuracy"] > 0.9
    assert report["config"]["transport"]["epsilon"] == 0.1
    assert report["counts"] == {
        "labels": 20, "target_segments": 12, "rounds": 2,
        "source_labels": 24, "source_labels_used": 17,
    }  # fmt: skip
    assert sum(report["confidence_histogram"]) == 66
    assert report["warnings"] == []
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "20 labels of 12 segments by 2 alignments, for the dataset far" in printed
    assert "right by the target's true returns" in printed
    data = load_data(target, str(out), DataConfig(), "cpu")
    assert data.num_labels == 20


def test_a_target_without_rewards_has_no_accuracy_and_doubts_are_kept(tasks, tmp_path, capsys):
    source, labels = tasks
    target = write_task(tmp_path / "far.npz", 1, dims=3, paid=False)
    out = tmp_path / "labels.npz"
    words = ["transfer", source, target, "--labels", labels, "--out", str(out), "--segments", "8",
             "--rounds", "1", "--anchor", "progress",
             "--transport.max-iterations", "1"]  # fmt: skip
    with pytest.warns(RuntimeWarning, match="had not converged"):
        main(words)
    assert "right by" not in capsys.readouterr().out
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["accuracy"] is None
    assert "had not converged" in report["warnings"][0]
    assert FeedbackStore.load(out).notes == report["warnings"]
    with pytest.warns(RuntimeWarning, match="labels.npz: 1 of 1 alignments had not converged"):
        load_data(target, str(out), DataConfig(), "cpu")
    copy = tmp_path / "copy.npz"
    main(["import", str(out), str(copy), "--dataset", target])
    capsys.readouterr()
    main(["report", str(copy), "--splits", "0"])
    assert "note: 1 of 1 alignments had not converged" in capsys.readouterr().out


def test_a_source_without_labels_is_refused(tasks, tmp_path):
    source, _ = tasks
    with pytest.raises(ValueError, match="holds no labels: name a file"):
        main(["transfer", source, source, "--out", str(tmp_path / "x.npz")])
    with pytest.raises(ValueError, match="out must end in .npz"):
        main(["transfer", source, source, "--out", str(tmp_path / "x.csv")])


def test_the_histogram_by_hand():
    labels = torch.tensor([0.5, 0.54, 0.0, 1.0, 0.76])
    assert confidence_histogram(labels) == [2, 0, 0, 0, 0, 1, 0, 0, 0, 2]
