import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import minari
import numpy as np
import pytest

from pbrl.offline.collect.recorded import recorded_episodes
from pbrl.offline.collect.sources import Source, parse_source
from pbrl.offline.load import load_dataset
from pbrl.training.collect import collect
from pbrl.training.collect_config import CollectConfig
from pbrl.training.run import train

from .conftest import EPISODE_STEPS

RANDOM = Source(policy="random")
PENDULUM = CollectConfig(env="gym/Pendulum-v1", episodes=6, num_envs=2, max_episode_steps=25)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "data"))
    return tmp_path / "data"


def checksum(name):
    return minari.load_dataset(name).storage.metadata["pbrl"]["checksum"]


def test_a_dataset_says_where_it_comes_from(root):
    config = replace(
        PENDULUM,
        sources=(replace(RANDOM, share=2.0), parse_source("random:noise=0.5")),
        reference_episodes=3,
        expert_return=-1.0,
        seed=4,
    )
    assert collect(config, root, "pendulum/random-v0") == root / "pendulum" / "random-v0"
    assert sorted(path.name for path in (root / "pendulum").iterdir()) == ["random-v0"]
    dataset = minari.load_dataset("pendulum/random-v0")
    metadata = dataset.storage.metadata
    ours = metadata["pbrl"]
    assert (ours["env"], ours["config"]["seed"]) == ("gym/Pendulum-v1", 4)
    assert [source["episodes"] for source in ours["sources"]] == [4, 2]
    assert [source["steps"] for source in ours["sources"]] == [100, 50]
    returns = [episode.rewards.sum() for episode in dataset]
    assert ours["sources"][0]["mean_return"] == pytest.approx(np.mean(returns[:4]), rel=1e-5)
    assert ours["references"]["random"]["episodes"] == 3
    assert metadata["ref_min_score"] == ours["references"]["random"]["return"] < -50
    assert metadata["ref_max_score"] == -1.0
    assert "gymnasium==" in " ".join(metadata["requirements"])
    assert metadata["algorithm_name"] == "random:share=2; random:noise=0.5"
    numbers = [data["number"] for data in dataset.storage.get_episode_metadata(range(6))]
    assert numbers == [0, 1, 2, 3, 0, 1]


def test_the_dataset_does_not_depend_on_how_many_run_at_once(root):
    for num_envs in (1, 4):
        collect(replace(PENDULUM, num_envs=num_envs), root, f"p{num_envs}-v0")
    collect(replace(PENDULUM, seed=1), root, "other-v0")
    assert checksum("p1-v0") == checksum("p4-v0") != checksum("other-v0")


def test_steps_are_a_budget_too(root):
    collect(replace(PENDULUM, episodes=None, steps=60), root, "p-v0")
    assert minari.load_dataset("p-v0").total_steps == 75


def test_a_warm_up_begins_where_the_other_policy_led(root):
    config = replace(PENDULUM, warm_up=RANDOM, warm_up_steps=20)
    collect(config, root, "p-v0")
    dataset = minari.load_dataset("p-v0")
    lengths = [len(episode.rewards) for episode in dataset]
    assert len(lengths) == 6
    assert len(set(lengths)) > 1
    assert set(lengths) <= set(range(5, 26))


def test_a_run_collects_with_its_policy_and_gives_its_replay(tiny_config, tmp_path, root):
    run = tmp_path / "run"
    train(replace(tiny_config, steps=120, preferences=None, agent="sac"), run)
    older = sorted((run / "checkpoint").iterdir())[0]
    sources = (
        Source(policy=str(run)),
        Source(policy=str(run), stochastic=True),
        Source(policy=str(older), noise=0.1),
    )
    config = CollectConfig(env="gym/Follow-v0", sources=sources, episodes=9, num_envs=3)
    collect(config, root, "follow/mixed-v0")
    described = minari.load_dataset("follow/mixed-v0").storage.metadata["pbrl"]["sources"]
    assert [len(source["sha256"]) for source in described] == [64, 64, 64]
    assert described[0]["sha256"] == described[1]["sha256"]

    recorded = recorded_episodes(load_dataset(run))
    assert len(recorded) == 120 // EPISODE_STEPS
    config = replace(config, sources=(Source(policy=f"replay={run}"),), episodes=4)
    collect(config, root, "follow/medium-replay-v0")
    dataset = minari.load_dataset("follow/medium-replay-v0")
    for found, expected in zip(dataset, recorded, strict=False):
        np.testing.assert_array_equal(found.observations, expected.observations)
        np.testing.assert_array_equal(found.actions, expected.actions)
    short = replace(config, sources=(RANDOM, *config.sources))
    for asked, message in (
        (
            replace(config, episodes=100),
            f"holds {len(recorded)} episodes, fewer than the 100 asked",
        ),
        (replace(config, episodes=None, steps=121), "holds 120 steps, fewer than the 121 asked"),
        (replace(short, episodes=30), f"holds {len(recorded)} episodes, fewer than the 15 asked"),
        (replace(config, env="gym/Pendulum-v1"), "does not fit environment gym/Pendulum-v1"),
    ):
        with pytest.raises(ValueError, match=message):
            collect(asked, root, "follow/too-many-v0")
    assert not list((root / "follow").glob("too-many*"))


def test_the_speed_counts_from_the_start(root, capsys):
    collect(PENDULUM, root, "p-v0")  # two at a time, which end in the same moment
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "episodes 0/6"
    assert lines[-1].startswith("episodes 6/6  episodes/s ")


def test_a_policy_of_another_environment_is_refused_before_anything_is_written(
    tiny_config, tmp_path, root
):
    run = tmp_path / "run"
    train(replace(tiny_config, steps=60, preferences=None, agent="sac"), run)
    config = replace(PENDULUM, sources=(Source(policy=str(run)),))
    with pytest.raises(ValueError, match="maps 2 observed numbers to 1 actions, but 3 and 1"):
        collect(config, root, "p-v0")
    with pytest.raises(FileNotFoundError, match="no-such-run is not the folder of a run"):
        collect(replace(PENDULUM, sources=(Source(policy="no-such-run"),)), root, "p-v0")
    with pytest.raises(FileNotFoundError, match="there is no file sac.zip"):
        collect(replace(PENDULUM, sources=(Source(policy="sac.zip"),)), root, "p-v0")
    assert not root.exists()


def test_a_dataset_is_not_overwritten_nor_resumed_with_other_numbers(root):
    collect(PENDULUM, root, "p-v0")
    with pytest.raises(FileExistsError, match="choose another name"):
        collect(PENDULUM, root, "p-v0")
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        collect(PENDULUM, root, "q-v0", resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": None}, "exactly one of episodes and steps"),
        ({"steps": 5}, "exactly one of episodes and steps"),
        ({"episodes": 0}, "at least 1, got 0"),
        ({"sources": ()}, "at least one policy"),
        ({"warm_up_steps": 3}, "belong together, got None and 3"),
        ({"warm_up": RANDOM}, "belong together, got random and 0"),
        ({"num_envs": 0}, "num_envs must be at least 1"),
        ({"reference_episodes": -1}, "must not be negative"),
        ({"goal_visible": True}, "option of Meta-World, not of gym/Pendulum-v1"),
        ({"expert": Source(policy="replay=x")}, "must be policies"),
    ],
)
def test_impossible_configurations_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(PENDULUM, **changes)


def test_an_episode_must_end_and_leave_something_to_record(root):
    config = replace(PENDULUM, warm_up=RANDOM, warm_up_steps=25)
    with pytest.raises(ValueError, match="less than an episode of gym/Pendulum-v1, 25 steps"):
        collect(config, root, "p-v0")


def test_kill_9_loses_the_episodes_in_progress_alone(root):
    words = [
        sys.executable, "-m", "pbrl.cli", "collect", "gym/Pendulum-v1", "random:noise=0.3",
        "random", "--episodes", "24", "--num-envs", "2", "--max-episode-steps", "400",
        "--name", "pendulum-v0",
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    episodes = root / "pendulum-v0.collecting" / "episodes"
    deadline = time.monotonic() + 120
    while len(list(episodes.glob("episode-*.npz"))) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in episodes.glob("episode-*.npz")}
    assert 2 <= len(before) < 24
    assert not (root / "pendulum-v0").exists()

    sources = tuple(parse_source(text) for text in words[5:7])
    config = replace(PENDULUM, sources=sources, episodes=24, max_episode_steps=400)
    with pytest.raises(FileExistsError, match="already holds a run; resume it"):
        collect(config, root, "pendulum-v0")
    with pytest.raises(ValueError, match="seed: 0 -> 1"):
        collect(replace(config, seed=1), root, "pendulum-v0", resume=True)
    after = {path.name: path.stat().st_mtime_ns for path in episodes.glob("episode-*.npz")}
    assert after == before
    collect(config, root, "pendulum-v0", resume=True)
    assert not episodes.exists()
    collect(replace(config, num_envs=3), root, "whole-v0")
    assert checksum("pendulum-v0") == checksum("whole-v0")
