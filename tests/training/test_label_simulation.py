import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pbrl.agents.sac import SACConfig
from pbrl.feedback import FeedbackStore
from pbrl.offline.collect.sources import Source
from pbrl.offline.labels import load_preferences, read_labels
from pbrl.offline.load import load_dataset
from pbrl.offline.simulate import Judge, ScoreConfig
from pbrl.offline.values import ValueConfig
from pbrl.training.collect import collect
from pbrl.training.collect_config import CollectConfig
from pbrl.training.label_simulation import SimulationConfig, simulate_labels
from pbrl.training.run import train

VALUE = ValueConfig(hidden_sizes=(16,), updates=40, rounds=2)
CONFIG = SimulationConfig(
    score=ScoreConfig(score="return"), segments=30, length=8, value=VALUE, seed=2
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Folder of a dataset of 12 episodes of 20 random steps."""
    config = CollectConfig(env="gym/Pendulum-v1", episodes=12, max_episode_steps=20)
    return str(collect(config, tmp_path_factory.mktemp("data"), "pendulum/random-v0"))


def test_scored_segments_and_what_they_rest_on(dataset, tmp_path):
    record = simulate_labels(dataset, CONFIG, tmp_path / "labels" / "return.npz")
    loaded = load_dataset(dataset)
    scored = load_preferences(tmp_path / "labels" / "return.npz", loaded)
    assert len(scored) == 30
    returns = loaded.replay.gather(scored.segments).true_returns()
    torch.testing.assert_close(scored.scores, returns, atol=1e-4, rtol=1e-5)
    assert read_labels(tmp_path / "labels" / "return.npz").identity == loaded.identity()
    assert json.loads((tmp_path / "labels" / "return.json").read_text()) == record
    assert record["dataset"] == {"name": "pendulum/random-v0", "checksum": loaded.info.checksum}
    assert (record["counts"], record["value"]) == ({"segments": 30}, None)
    assert record["agreement_with_return"] == 1.0


def test_regret_by_a_value_fitted_to_the_dataset_itself_or_to_another(dataset, tmp_path):
    config = replace(CONFIG, score=ScoreConfig(score="regret", discount=0.9))
    record = simulate_labels(dataset, config, tmp_path / "regret.npz")
    assert record["value"]["dataset"] == "pendulum/random-v0"
    assert record["value"]["config"]["discount"] == 0.9
    assert 0 < record["agreement_with_return"] < 1
    other = replace(config, value_data=dataset)
    assert simulate_labels(dataset, other, tmp_path / "b.npz")["value"] == record["value"]
    first, second = (
        load_preferences(tmp_path / name, load_dataset(dataset)).scores
        for name in ("regret.npz", "b.npz")
    )
    assert torch.equal(first, second)


def test_pairs_are_answered_by_the_named_teacher(dataset, tmp_path):
    config = replace(CONFIG, pairs=40, teacher="mistake")
    record = simulate_labels(dataset, config, tmp_path / "pairs.npz")
    store = FeedbackStore.load(tmp_path / "pairs.npz")
    assert (store.num_asked, store.annotators) == (40, ("mistake",))
    assert store.dataset == load_dataset(dataset).identity()
    assert record["counts"] == {"pairs": 40, "ties": 0, "skips": 0}
    labelled = store.labelled()
    index = labelled.index
    windows = torch.stack([index.episode, index.start], -1).reshape(-1, 2)
    assert len(windows.unique(dim=0)) == 80  # every segment is in one pair
    judge = Judge(load_dataset(dataset).replay, ScoreConfig(score="return"))
    scores = judge.contributions(index.reshape(-1)).sum(-1).reshape(-1, 2)
    wrong = labelled.labels != (scores[:, 1] > scores[:, 0]).float()
    assert 0 < int(wrong.sum()) < 15


@pytest.mark.parametrize("name", ["labels.npz", "labels.json"])
def test_what_is_there_is_refused_before_any_work(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=f"{name} is there already; choose another name"):
        simulate_labels("nowhere", CONFIG, tmp_path / "labels.npz")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        simulate_labels("nowhere", CONFIG, tmp_path / "file" / "x.npz")
    assert (tmp_path / name).read_text() == "mine"


def test_an_oracle_of_our_own_gives_the_values(tiny_config, tmp_path):
    run = tmp_path / "run"
    sac = SACConfig(hidden_sizes=(16, 16))
    train(replace(tiny_config, steps=60, preferences=None, agent="sac", sac=sac), run)
    config = CollectConfig(env="gym/Follow-v0", sources=(Source(policy=str(run)),), episodes=4)
    data = str(collect(config, tmp_path, "follow/sac-v0"))
    regret = replace(CONFIG, score=ScoreConfig(), segments=5, length=5, value_from=run)
    record = simulate_labels(data, regret, tmp_path / "regret.npz")
    assert record["value"]["sampled_actions"] == 64
    assert len(record["value"]["sha256"]) == 64


def test_an_oracle_of_another_environment_is_refused(tiny_config, dataset, tmp_path):
    run = tmp_path / "run"
    train(replace(tiny_config, steps=60, preferences=None, agent="sac"), run)
    config = replace(CONFIG, score=ScoreConfig(), value_from=run)
    with pytest.raises(ValueError, match="observe 2 numbers, but pendulum/random-v0 has 3"):
        simulate_labels(dataset, config, tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segments": 0}, "segments must be at least 1"),
        ({"pairs": 0}, "pairs must be at least 1"),
        ({"length": 0}, "length must be at least 1"),
        ({"teacher": "noisy"}, "the teacher 'noisy' answers pairs"),
        ({"value_from": Path("run"), "value_data": "data"}, "exclude each other"),
    ],
)
def test_impossible_configurations_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


def test_files_that_do_not_fit_are_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match="out must end in .npz"):
        simulate_labels(dataset, CONFIG, tmp_path / "labels.csv")
    with pytest.raises(ValueError, match="segments of 21 steps were asked for"):
        simulate_labels(dataset, replace(CONFIG, length=21), tmp_path / "x.npz")
    with pytest.raises(ValueError, match="there is no dataset"):
        simulate_labels(str(tmp_path / "nothing"), CONFIG, tmp_path / "x.npz")
