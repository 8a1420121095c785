"""The transitions that an off-policy agent learns from while preferences are collected."""

from dataclasses import replace

import torch

from pbrl.batches import ONE_STEP, BatchSteps
from pbrl.intrinsic import IntrinsicReward
from pbrl.replay import Batch, ReplayBuffer
from pbrl.replay_rules import ReplayRuleConfig, sample_batch
from pbrl.training.reward_source import RewardSource


def draw_batch(  # noqa: PLR0913  one part of the method each
    replay: ReplayBuffer,
    batch_size: int,
    *,
    source: RewardSource,
    rule: ReplayRuleConfig,
    intrinsic: IntrinsicReward,
    generator: torch.Generator,
    steps: BatchSteps = ONE_STEP,
) -> Batch:
    """Draw transitions with the reward to learn from.

    Before there is a learned reward that is the intrinsic one, over every state in the buffer;
    afterwards it is the stored one. The replay rule holds until the budget is spent, as in QPA
    (Hu et al. 2024), and every draw is uniform before the first and after the last session.

    Args:
        replay: where to draw from.
        batch_size: how many transitions.
        source: says whether there is a reward and whether it still asks.
        rule: the replay rule.
        intrinsic: reward of the exploration.
        generator: source of randomness, on the device of the replay buffer.
        steps: how far transitions reach.
    """
    if not source.is_ready:
        batch = replay.sample(batch_size, generator, steps=steps)
        return replace(batch, rewards=intrinsic(batch.observations, replay.all_observations()))
    return sample_batch(
        replay, rule if source.is_asking else ReplayRuleConfig(), batch_size, generator, steps
    )
