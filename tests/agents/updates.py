"""One small update of every method, on any device."""

from dataclasses import replace
from typing import Any, NamedTuple

import torch

from pbrl.agents.dppo import DPPO
from pbrl.agents.drqv2 import DrQv2, DrQv2Config
from pbrl.agents.dt import DecisionTransformer
from pbrl.agents.dtr import DTR
from pbrl.agents.oppo import OPPO
from pbrl.crops import CropConfig
from pbrl.graphs import tensors_of, with_tensors
from pbrl.hindsight import HindsightConfig
from pbrl.label_noise import LabelNoiseConfig
from pbrl.pseudo_labels import PseudoLabelConfig
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.reward_steps import StepData, make_step
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.tally import Tally
from tests import test_hindsight, test_reward_seeds, test_seeds
from tests.agents import test_dppo, test_drqv2, test_dtr, test_oppo, test_p_iql, test_sac_codes

IMAGES = {"drqv2": None, "taco": test_drqv2.TACO}
SEQUENCES = {
    "oppo": (OPPO, test_oppo.SMALL, test_oppo.batch_for),
    "oppo, alternating": (OPPO, test_oppo.HUMAN, test_oppo.batch_for),
    "oppo, scripted": (OPPO, test_oppo.SCRIPTED, test_oppo.batch_for),
    "dppo, predictor": (DPPO, replace(test_dppo.SMALL, predictor_updates=5), test_dppo.batch_for),
    "dppo": (DPPO, replace(test_dppo.SMALL, predictor_updates=1), test_dppo.batch_for),
    "dt": (DecisionTransformer, test_dtr.SMALL, None),
    "dtr": (DTR, replace(test_dtr.SMALL_DTR, slow_every=2), None),
}
CROPS = CropConfig(num_crops=3, min_cut=1, max_cut=3)
REWARDS = {
    "whole segments": {},
    "more than memory holds": {"memory_limit": 0.0},
    "crops": {"crops": CROPS},
    "own queries for each member": {"bootstrap_share": 0.6},
    "noisy labels": {"label_noise": LabelNoiseConfig(warmup_updates=5)},
    "pseudo-labels": {
        "pseudo_labels": PseudoLabelConfig(threshold=0.5, pool_ratio=2, batch_ratio=1),
        "crops": CROPS,
    },
    "hindsight": {"hindsight": HindsightConfig(world=test_hindsight.SMALL)},
}
KEPT_REWARDS = [name for name, config in REWARDS.items() if "memory_limit" not in config]
SIZES = (test_reward_seeds.OBS, test_reward_seeds.ACT)
BY_NUMBERS = list(test_seeds.CONFIGS)
CODES = "sac, codes"
NAMES = [*BY_NUMBERS, CODES, *IMAGES, *SEQUENCES]
NOT_RECORDED = ["p-iql, joint"]


class Case(NamedTuple):
    """An agent, and what it learns from in an update of a number."""

    agent: Any
    batch: Any


def moved(batch, device):
    """Return a batch on a device, in the precision that torch takes by default."""
    kind = torch.get_default_dtype()
    parts = [part.to(kind) if part.is_floating_point() else part for part in tensors_of(batch)]
    return with_tensors(batch, iter([part.to(device) for part in parts]))


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
    if name in NOT_RECORDED:
        agent = test_p_iql.agent(device=device)
        return Case(agent, lambda step: moved(test_p_iql.draw(step, 8), device))
    if name == CODES:
        agent = test_sac_codes.make(3, device)
        return Case(agent, lambda step: moved(test_sac_codes.batch(step), device))
    kind, config = test_seeds.CONFIGS[name]
    agent = kind(config, test_seeds.OBS, test_seeds.ACT, device=device, generator=draws)
    return Case(agent, lambda step: moved(test_seeds.given(kind, 3, step), device))


def make_reward(name, device="cpu"):
    """Return a reward learner, the same at every call, and what begins its fit to some labels."""
    replay = ReplayBuffer(240, *SIZES, num_envs=8, device=device)
    replay.load_state_dict(test_reward_seeds.walks(0).state_dict())
    draws = torch.Generator(device).manual_seed(0)
    network = RewardConfig(num_members=2, hidden_sizes=(16,))
    ensemble = RewardEnsemble(network, *SIZES, device=device, generator=draws)
    config = RewardLearningConfig(batch_size=16, passes=4, target_accuracy=1.0, **REWARDS[name])
    learner = RewardLearner(config, ensemble, draws)

    def begin(number):
        labelled = test_reward_seeds.labelled(test_reward_seeds.walks(0), number, 0)
        return learner.begin(labelled, replay, draws)

    return learner, begin


def make_reward_step(name, device="cpu"):
    """Return a gradient step of a reward ensemble."""
    learner, begin = make_reward(name, device)
    session = begin(32)
    batch, tally = session.minibatches()[0], Tally(torch.device(device))
    step = make_step(learner, data_of(session))
    return lambda: step(batch, tally)


def data_of(session):
    """Return what the gradient steps of a fit are taken from."""
    return StepData(session.training, session.generator, session.unlabelled)
