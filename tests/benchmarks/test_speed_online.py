import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import pbrl.linear
from pbrl.agents.sac import SAC, SACConfig
from pbrl.replay import Batch

PATH = Path(__file__).parents[2] / "benchmarks" / "speed_online.py"


@pytest.fixture(scope="module")
def speed_online():
    spec = importlib.util.spec_from_file_location("speed_online", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("hidden_sizes", [(16, 8), (8, 8, 8)])
def test_counted_operations_are_those_that_an_update_runs(speed_online, hidden_sizes, monkeypatch):
    monkeypatch.setattr(pbrl.linear, "_onednn_linear", None)  # torch counts its own products only
    observation_dim, action_dim = speed_online.OBSERVATION_DIM, speed_online.ACTION_DIM
    generator = torch.Generator().manual_seed(0)
    config = SACConfig(hidden_sizes=hidden_sizes)
    agent = SAC(config, observation_dim, action_dim, generator=generator)
    observations, zeros = torch.zeros(32, observation_dim), torch.zeros(32)
    batch = Batch(observations, torch.zeros(32, action_dim), zeros, observations, zeros)
    with FlopCounterMode(display=False) as counter:
        agent.update(batch)
    assert counter.get_total_flops() == speed_online.flops_per_update(hidden_sizes, 32)


def test_contenders_take_turns(speed_online):
    calls = []
    times = speed_online.time_in_turns(
        {name: lambda n, name=name: calls.append((name, n)) for name in "ab"}, 3, seconds=1e-9
    )
    assert list(times) == ["a", "b"]
    assert calls[4:] == [("a", 1), ("b", 1)] * 3
