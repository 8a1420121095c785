import json
import os
import signal
from dataclasses import replace

import pytest
import torch

from pbrl.agents.bc import BCConfig
from pbrl.agents.cpl import CPLConfig
from pbrl.agents.dppo import DPPOConfig
from pbrl.agents.iql import IQLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.reward_learning import RewardLearningConfig
from pbrl.reward_scaling import RewardScalingConfig
from pbrl.rewards import RewardConfig
from pbrl.training import reward_stage
from pbrl.training.checkpoint import CheckpointMismatchError, load_checkpoint
from pbrl.training.fit import fit
from pbrl.training.fit_build import build_offline_loop
from pbrl.training.fit_config import FitConfig, decode_fit_config
from pbrl.training.fit_data import Data
from pbrl.training.interruption import Interrupted
from pbrl.training.offline import OfflineLoop
from pbrl.training.result import Result
from pbrl.training.reward_stage import RewardStageConfig
from pbrl.training.run_folder import read_config
from pbrl.training.saved import load_policy
from tests.training.point_mass import ENV, make_data, make_dataset

POLICY = PolicyConfig(hidden_sizes=(64, 64))
REWARD = RewardStageConfig(
    network=RewardConfig(num_members=1, hidden_sizes=(64, 64)),
    learning=RewardLearningConfig(
        learning_rate=1e-3, batch_size=64, passes=100, target_accuracy=1.0
    ),
    scaling=RewardScalingConfig(kind="z-score"),
)
IQL = IQLConfig(
    policy=POLICY,
    hidden_sizes=(64, 64),
    learning_rate=3e-3,
    policy_decay_updates=None,
    batch_size=128,
    expectile=0.8,
    discount=0.95,
    target_rate=0.03,
)
BC = BCConfig(policy=replace(POLICY, kind="fixed-variance"), learning_rate=3e-3, batch_size=128)
SFT = replace(BC, data="segments", batch_size=16, preferred_after=10)


def config(agent="p-iql", method=IQL, steps=60, **changes):
    given = {
        "dataset": "point-mass",
        "agent": agent,
        "method": method,
        "reward": REWARD if agent == "p-iql" else None,
        "steps": steps,
        "eval_every": 30,
        "eval_episodes": 4,
        "checkpoint_every": 20,
        "log_every": 20,
    }
    return FitConfig(**(given | changes))


def quick(agent="p-iql", method=None, **changes):
    """A run of a second, with everything that is drawn at random in it."""
    small = replace(POLICY, hidden_sizes=(16,), dropout=0.2)
    methods = {
        "p-iql": replace(IQL, policy=small, hidden_sizes=(16,)),
        "sft": replace(SFT, policy=replace(small, kind="fixed-variance"), segment_steps=8),
        "bc": replace(BC, policy=replace(small, kind="fixed-variance")),
    }
    reward = replace(REWARD, learning=replace(REWARD.learning, passes=3))
    changes = {"reward": reward if agent == "p-iql" else None} | changes
    return config(agent, method or methods[agent], **changes)


def score(agent, method, tmp_path, control="none", steps=600):
    made = config(
        agent, method, steps, control=control, eval_every=100, eval_episodes=20,
        checkpoint_every=steps, score_evaluations=3,
    )  # fmt: skip
    result = fit(made, tmp_path / f"{agent}-{control}", data=make_data())
    assert result.score_name == "normalized_return"
    return result


@pytest.mark.many_updates
def test_a_learned_reward_finds_the_goal_and_the_controls_do_not(tmp_path):
    learned = score("p-iql", IQL, tmp_path)
    assert learned.score > 60
    assert learned.labels_given == 200
    assert score("bc", BC, tmp_path, steps=300).score < 30
    flipped = score("p-iql", IQL, tmp_path, "flipped-labels", steps=300)
    assert flipped.score < -60
    assert flipped.control == "flipped-labels"


def test_a_run_leaves_everything_behind(tmp_path):
    folder = tmp_path / "run"
    result = fit(quick(held_out_share=0.1), folder, data=make_data(num_pairs=40))
    assert result == Result.load(folder / "result.json")
    assert (result.env, result.dataset, result.task) == (ENV, "point-mass", "point-mass")
    assert (result.steps, result.labels_given, result.score_name) == (60, 40, "normalized_return")
    assert [step for step, _, _ in result.curve] == [30, 60]
    assert result.random_score is not None
    assert result.environment["id"] == ENV
    header = (folder / "metrics.csv").read_text().splitlines()[0]
    expected = {"policy_loss", "reward/accuracy", "eval/return", "eval/label_accuracy"}
    assert expected <= set(header.split(","))
    stored = decode_fit_config(read_config(folder))
    assert stored.data.env == ENV
    assert stored.method == quick().method
    act, loaded = load_policy(folder)
    assert loaded == stored
    assert act(torch.zeros(3, 2)).shape == (3, 2)


def test_labels_that_an_agent_does_not_learn_from_are_not_counted(tmp_path, recwarn):
    data, labels = make_data(num_pairs=40), "labels.npz"
    for agent, given, share in (("bc", 0, 0.0), ("bc", 0, 0.1), ("sft", 40, 0.1)):
        made = quick(agent, labels=labels, held_out_share=share)
        result = fit(made, tmp_path / f"{agent}-{share}", data=data)
        assert (result.labels_asked, result.labels_given) == (given, given)
        assert [labels for _, _, labels in result.curve] == [given, given]
    said = [str(one.message) for one in recwarn if "does not learn" in str(one.message)]
    assert said == [
        "bc does not learn from labels: those of labels.npz are left aside",
        "bc does not learn from labels: those of labels.npz only judge it",
    ]


@pytest.mark.parametrize(
    ("agent", "method", "message"),
    [
        ("cpl", CPLConfig(pretraining_updates=60), "lower --method.pretraining-updates, or raise"),
        ("sft", replace(SFT, preferred_after=60), "lower --method.preferred-after, or raise"),
        (
            "dppo",
            DPPOConfig(predictor_updates=60, segment_steps=20),
            "lower --method.predictor-updates, or raise",
        ),
        ("cpl", CPLConfig(pretraining_updates=59), None),
        ("cpl", CPLConfig(pretraining_updates=0), None),
        ("sft", replace(SFT, preferred_after=None), None),
        ("bc", BC, None),
    ],
)
def test_a_run_that_ends_in_its_first_phase_is_warned_of(agent, method, message, recwarn):
    build_offline_loop(config(agent, method), make_data(num_pairs=40))
    said = [str(one.message) for one in recwarn if "this run ends after 60" in str(one.message)]
    assert len(said) == (message is not None)
    assert all(text.startswith(f"in its first 60 updates {agent} ") for text in said)
    assert all(message in text for text in said)


@pytest.mark.parametrize("agent", ["p-iql", "sft", "bc"])
def test_killed_and_resumed_it_is_bit_for_bit_the_uninterrupted_run(agent, tmp_path, monkeypatch):
    made = quick(agent, normalize_observations=agent == "bc")
    fit(made, tmp_path / "whole", data=make_data(num_pairs=40))

    advance = OfflineLoop.advance

    def killed(self):
        if self.step == 47:
            raise RuntimeError("killed")
        advance(self)

    monkeypatch.setattr(OfflineLoop, "advance", killed)
    with pytest.raises(RuntimeError, match="killed"):
        fit(made, tmp_path / "parts", data=make_data(num_pairs=40))
    assert load_checkpoint(tmp_path / "parts" / "checkpoint", None)[1] == 40
    monkeypatch.setattr(OfflineLoop, "advance", advance)
    resumed = fit(made, tmp_path / "parts", data=make_data(num_pairs=40), resume=True)
    whole, parts = (
        load_checkpoint(tmp_path / name / "checkpoint", None)[0] for name in ("whole", "parts")
    )
    assert_equal(whole["loop"], parts["loop"])
    assert whole["curve"] == parts["curve"]
    first, second = ((tmp_path / name / "metrics.csv").read_text() for name in ("whole", "parts"))
    assert first == second
    assert resumed.steps == 60


@pytest.mark.parametrize(("agent", "calls"), [("p-iql", 2), ("sft", 23)])
def test_ctrl_c_stops_cleanly_also_while_the_reward_is_learned(agent, calls, tmp_path, monkeypatch):
    monkeypatch.setattr(reward_stage, "PART_STEPS", 1)
    made, advance, called = quick(agent), OfflineLoop.advance, []
    fit(made, tmp_path / "whole", data=make_data(num_pairs=40))

    def interrupted(self):
        called.append(self.step)
        if len(called) == calls:
            os.kill(os.getpid(), signal.SIGINT)
        advance(self)

    monkeypatch.setattr(OfflineLoop, "advance", interrupted)
    with pytest.raises(Interrupted, match="--resume"):
        fit(made, tmp_path / "parts", data=make_data(num_pairs=40))
    state, step = load_checkpoint(tmp_path / "parts" / "checkpoint", None)
    if agent == "p-iql":
        assert (step, state["loop"]["stage"]["num_steps"]) == (0, 2)
    else:
        assert step == 23
    fit(made, tmp_path / "parts", data=make_data(num_pairs=40), resume=True)
    whole, parts = (
        load_checkpoint(tmp_path / name / "checkpoint", None)[0] for name in ("whole", "parts")
    )
    assert_equal(whole["loop"], parts["loop"])


def assert_equal(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, list | tuple):
        for first, second in zip(one, other, strict=True):
            assert_equal(first, second)
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def test_a_dataset_without_an_environment_is_judged_by_labels_held_out(tmp_path):
    data = make_data(num_pairs=60, env=None)
    result = fit(quick(held_out_share=0.25), tmp_path / "run", data=data)
    assert (result.env, result.dataset, result.score_name) == (None, "point-mass", "label_accuracy")
    assert result.score > 0.55
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0]
    assert {"eval/label_accuracy", "eval/log_likelihood"} <= set(header.split(","))
    alone = fit(quick("bc"), tmp_path / "bc", data=Data(make_dataset(8, env=None)))
    assert alone.score_name == "log_likelihood"
    assert alone.curve[-1][1] > alone.curve[0][1]


def test_data_that_do_not_fit_are_refused_before_any_learning(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match="learns its reward from labels"):
        fit(quick(), folder, data=Data(make_dataset(8)))
    with pytest.raises(ValueError, match="learns from labels: give a file"):
        fit(quick("sft"), folder, data=Data(make_dataset(8)))
    with pytest.raises(ValueError, match="2 observed numbers and 2 actions, .* has 3 and 1"):
        fit(quick("bc"), folder, data=Data(make_dataset(8, env="gym/Pendulum-v1")))
    with pytest.raises(ValueError, match="learns from rewards: configure"):
        fit(quick(reward=None), folder, data=make_data(num_pairs=4))
    with pytest.raises(ValueError, match="best_share is for agents that draw transitions"):
        fit(quick("sft", best_share=0.1), folder, data=make_data(num_pairs=4))
    with pytest.raises(ValueError, match="there are none"):
        fit(quick("bc", control="flipped-labels"), folder, data=Data(make_dataset(8)))
    assert not folder.exists()


def test_a_run_refused_before_its_first_update_leaves_its_folder_free(tmp_path, monkeypatch):
    def no_wandb(*arguments):
        raise ImportError("no wandb")

    monkeypatch.setattr("pbrl.training.metrics._start_wandb", no_wandb)
    data = Data(make_dataset(8))
    with pytest.raises(ImportError, match="no wandb"):
        fit(quick("bc"), tmp_path / "run", data=data, wandb=True)
    assert fit(quick("bc"), tmp_path / "run", data=data).agent == "bc"


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    fit(quick("bc"), tmp_path / "run", data=Data(make_dataset(8)))
    with pytest.raises(CheckpointMismatchError, match=r"dataset.steps: 400 -> 450"):
        fit(quick("bc"), tmp_path / "run", data=Data(make_dataset(9)), resume=True)
    data = Data(make_dataset(8), make_data(num_pairs=4).preferences)
    with pytest.raises(CheckpointMismatchError, match="labels: null -> "):
        fit(quick("bc"), tmp_path / "run", data=data, resume=True)


def test_a_finished_run_is_not_overwritten(tmp_path):
    fit(quick("bc"), tmp_path / "run", data=Data(make_dataset(8)))
    with pytest.raises(FileExistsError, match="resume"):
        fit(quick("bc"), tmp_path / "run", data=Data(make_dataset(8)))


def test_a_configuration_comes_back_from_json_with_its_own_method():
    for made in (quick(), quick("bc"), quick("sft")):
        assert decode_fit_config(json.loads(json.dumps(_plain(made)))) == made
    with pytest.raises(ValueError, match="lacks the field 'method'"):
        decode_fit_config({"agent": "bc"})
    with pytest.raises(ValueError, match="expectile"):
        decode_fit_config(_plain(quick("bc")) | {"method": {"expectile": 0.5}})


def _plain(made):
    from pbrl.training.files import plain

    return plain(made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"best_share": 0.0}, "best_share must lie in"),
        ({"held_out_share": 1.0}, "held_out_share must lie in"),
        ({"seed": -1}, "seed must be a whole number from 0 on, got -1"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        config(**change)
