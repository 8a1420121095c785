"""Runs come to the same whichever way their updates are made."""

from dataclasses import replace

import pytest
import torch

from pbrl.agents.p_iql import JointPIQLConfig
from pbrl.agents.recorded import RecordedUpdate
from pbrl.graphs import WARM_UPS
from pbrl.reward_steps import RecordedStep
from pbrl.training.checkpoint import load_checkpoint
from pbrl.training.fit import fit, fit_seeds
from pbrl.training.run import train, train_seeds
from tests.agents import tape
from tests.training.point_mass import make_data
from tests.training.test_fit import quick

SEEDS = (0, 3)


@pytest.fixture
def recorded_steps(monkeypatch):
    """Let gradient steps of rewards be recorded on the CPU; return what did."""
    made = []

    class Step(RecordedStep):
        def __init__(self, *given):
            super().__init__(*given, tape.TapeRecorder())
            made.append(self)

    monkeypatch.setattr("pbrl.reward_steps.RecordedStep", Step)
    return made


@pytest.fixture
def recording(monkeypatch, recorded_steps):
    """Let "graph" record on the CPU, by what stands for a CUDA graph there; return what did."""
    made = []

    def make_update(agent, updates):
        if updates == "eager":
            return agent.update
        made.append(RecordedUpdate(agent, tape.TapeRecorder()))
        return made[-1]

    monkeypatch.setattr("pbrl.training.run_config.check_updates", lambda *_: None)
    for module in ("training.online", "training.offline", "seeds"):
        monkeypatch.setattr(f"pbrl.{module}.make_update", make_update)
    return made


def end_of(folder):
    loop = load_checkpoint(folder / "checkpoint", None)[0]["loop"]
    parts = {name: loop[name] for name in ("agent", "generators", "step")}
    reward = loop.get("source", {}).get("learner") or loop.get("stage", {}).get("model")
    return parts | {"reward": reward or {}}


def assert_same(folder, other):
    torch.testing.assert_close(end_of(folder), end_of(other), rtol=1e-4, atol=1e-5)


@pytest.mark.many_updates
def test_an_online_run(tiny_config, tmp_path, recording, recorded_steps):
    short = replace(tiny_config, steps=180)
    train(short, tmp_path / "eager")
    assert not recording
    assert not recorded_steps
    train(replace(short, updates="graph"), tmp_path / "graph")
    assert [bool(one._recordings) for one in recording] == [True] * 2  # one for the warm-up
    assert [bool(one._recordings) for one in recorded_steps] == [True]  # of one session
    assert_same(tmp_path / "graph", tmp_path / "eager")
    groups = end_of(tmp_path / "graph")["agent"]["policy_optimizer"]["param_groups"]
    assert [(type(group["lr"]), group["capturable"]) for group in groups] == [(float, False)] * 2


@pytest.mark.many_updates
def test_online_seeds_together(tiny_config, tmp_path, recording, recorded_steps):
    short = replace(tiny_config, steps=150)
    for updates in ("eager", "graph"):
        folders = {seed: tmp_path / updates / str(seed) for seed in SEEDS}
        train_seeds(replace(short, updates=updates), folders)
    assert any(one._recordings for one in recording)
    assert any(one._recordings for one in recorded_steps)
    for seed in SEEDS:
        assert_same(tmp_path / "graph" / str(seed), tmp_path / "eager" / str(seed))


@pytest.mark.parametrize("agent", ["p-iql", "sft"])
def test_an_offline_run(agent, tmp_path, recording, recorded_steps):
    made = quick(agent)
    if made.reward is not None:  # as many steps as are taken before one is recorded, and some more
        longer = replace(made.reward.learning, passes=WARM_UPS + 3)
        made = replace(made, reward=replace(made.reward, learning=longer))
    for updates in ("eager", "graph"):
        data = make_data(num_pairs=40)
        fit(replace(made, updates=updates), tmp_path / updates, data=data)
    assert recording[0]._recordings
    assert any(one._recordings for one in recorded_steps) == (agent == "p-iql")
    assert_same(tmp_path / "graph", tmp_path / "eager")


def test_offline_seeds_together(tmp_path, recording):
    made = quick("sft")
    for updates in ("eager", "graph"):
        folders = {seed: tmp_path / updates / str(seed) for seed in SEEDS}
        fit_seeds(replace(made, updates=updates), folders, data=make_data(num_pairs=40))
    assert any(one._recordings for one in recording)
    for seed in SEEDS:
        assert_same(tmp_path / "graph" / str(seed), tmp_path / "eager" / str(seed))


def test_an_agent_that_cannot_be_recorded_is_refused_before_anything_is_learned(
    tmp_path, recording
):
    method = JointPIQLConfig()
    made = replace(quick(), agent="p-iql-joint", method=method, reward=None, updates="graph")
    with pytest.raises(ValueError, match="updates of JointPIQL cannot be recorded: choose 'eager'"):
        fit(made, tmp_path / "run", data=make_data(num_pairs=40))
    assert not recording


def test_graphs_without_a_gpu_are_refused(tiny_config):
    with pytest.raises(ValueError, match="updates 'graph' needs a CUDA device, .* choose 'eager'"):
        replace(tiny_config, updates="graph")
