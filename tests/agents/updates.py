"""One small update of every method, on any device."""

from dataclasses import replace
from typing import Any, NamedTuple

import torch

from pbrl.agents.dppo import DPPO
from pbrl.agents.drqv2 import DrQv2, DrQv2Config
from pbrl.agents.dt import DecisionTransformer
from pbrl.agents.dtr import DTR
from pbrl.agents.oppo import OPPO
from pbrl.agents.recorded import tensors_of, with_tensors
from pbrl.crops import CropConfig
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.tally import Tally
from tests import test_reward_seeds, test_seeds
from tests.agents import test_dppo, test_drqv2, test_dtr, test_oppo

IMAGES = {"drqv2": None, "taco": test_drqv2.TACO}
SEQUENCES = {
    "oppo": (OPPO, test_oppo.SMALL, test_oppo.batch_for),
    "oppo, scripted": (OPPO, test_oppo.SCRIPTED, test_oppo.batch_for),
    "dppo, predictor": (DPPO, test_dppo.SMALL, test_dppo.batch_for),
    "dppo": (DPPO, replace(test_dppo.SMALL, predictor_updates=1), test_dppo.batch_for),
    "dt": (DecisionTransformer, test_dtr.SMALL, None),
    "dtr": (DTR, test_dtr.SMALL_DTR, None),
}
BY_NUMBERS = list(test_seeds.CONFIGS)
NAMES = [*BY_NUMBERS, *IMAGES, *SEQUENCES]


class Case(NamedTuple):
    """An agent, and what it learns from in an update of a number."""

    agent: Any
    batch: Any


def moved(batch, device):
    """Return a batch on a device."""
    return with_tensors(batch, iter([part.to(device) for part in tensors_of(batch)]))


def make_case(name, device="cpu"):
    """Return an agent, the same at every call, and its batches."""
    draws = torch.Generator(device).manual_seed(3)
    if name in SEQUENCES:
        kind, config, batch_for = SEQUENCES[name]
        agent = kind(config, 3, 2, device=device, generator=draws)
        if batch_for is None:
            agent.prepare(test_dtr.dataset(device=device))
            return Case(agent, lambda step: moved(test_dtr.batches(agent, 1, step)[0], device))
        return Case(agent, lambda step: moved(batch_for(agent, step), device))
    if name in IMAGES:
        config = DrQv2Config(**test_drqv2.SMALL, taco=IMAGES[name], noise_updates=20)
        agent = DrQv2(config, test_drqv2.SIZE, 2, device=device, generator=draws)
        return Case(agent, lambda step: moved(test_drqv2.some_batch(seed=step), device))
    kind, config = test_seeds.CONFIGS[name]
    agent = kind(config, test_seeds.OBS, test_seeds.ACT, device=device, generator=draws)
    return Case(agent, lambda step: moved(test_seeds.given(kind, 3, step), device))


def make_reward_step(device="cpu"):
    """Return a gradient step of a reward ensemble on crops."""
    replay = test_reward_seeds.walks(0)
    network = RewardConfig(num_members=2, hidden_sizes=(16,))
    sizes = (test_reward_seeds.OBS, test_reward_seeds.ACT)
    draws = torch.Generator(device).manual_seed(0)
    ensemble = RewardEnsemble(network, *sizes, device=device, generator=draws)
    config = RewardLearningConfig(
        batch_size=16, crops=CropConfig(num_crops=3, min_cut=1, max_cut=3)
    )
    learner = RewardLearner(config, ensemble)
    labelled = test_reward_seeds.labelled(replay, 32, 0)
    there = ReplayBuffer(240, *sizes, num_envs=8, device=device)
    there.load_state_dict(replay.state_dict())
    session = learner.begin(labelled, there, draws)
    batch, tally = session.minibatches()[0], Tally(torch.device(device))
    return lambda: learner.take_step(session.training, batch, tally, draws)
