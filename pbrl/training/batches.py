"""Which steps an agent learns from while preferences are collected, and when."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol, TypeVar, runtime_checkable

import torch

from pbrl.batches import ONE_STEP, BatchSteps, NewestSteps
from pbrl.intrinsic import IntrinsicReward
from pbrl.replay import Batch, ReplayBuffer
from pbrl.replay_rules import ReplayRuleConfig, sample_batch
from pbrl.training.config import TrainConfig
from pbrl.training.reward_source import RewardSource

BatchT = TypeVar("BatchT", bound=Batch)


@runtime_checkable
class Experience(Protocol):
    """The steps of a run as an agent learns from them."""

    def num_due(self, step: int) -> int:
        """Return how many updates the first steps of a run allow in all."""
        ...

    def draw(self) -> Batch:
        """Return what the next update learns from."""
        ...

    def warm_up(self) -> Iterator[Batch]:
        """Yield what a new critic learns from before it goes on."""
        ...


class Replayed:
    """Transitions of all steps so far, drawn anew for each update.

    Args:
        config: the run; says how many, how often and by which rule.
        replay: the steps.
        source: where rewards come from.
        intrinsic: reward of the exploration.
        generator: source of randomness, on the device of the replay buffer.
        steps: how far transitions reach.
    """

    def __init__(  # noqa: PLR0913  one part of the method each
        self,
        config: TrainConfig,
        *,
        replay: ReplayBuffer,
        source: RewardSource,
        intrinsic: IntrinsicReward,
        generator: torch.Generator,
        steps: BatchSteps,
    ) -> None:
        self.config = config
        self.replay = replay
        self.source = source
        self.intrinsic = intrinsic
        self.generator = generator
        self.steps = steps

    def num_due(self, step: int) -> int:
        """Return `updates_per_step` updates for each step after those with random actions."""
        return int((step - self.config.seed_steps) * self.config.updates_per_step)

    def draw(self) -> Batch:
        """Return transitions as the replay rule has them; see `draw_batch`."""
        return draw_batch(
            self.replay,
            self.config.batch_size,
            source=self.source,
            rule=self.config.replay_rule,
            intrinsic=self.intrinsic,
            generator=self.generator,
            steps=self.steps,
        )

    def warm_up(self) -> Iterator[Batch]:
        """Yield transitions drawn uniformly."""
        assert self.config.preferences is not None  # only a learned reward makes critics anew
        for _ in range(self.config.preferences.warm_up_updates):
            yield self.replay.sample(self.config.batch_size, self.generator, steps=self.steps)


class Newest:
    """The newest steps of every environment, each learned from once, with their rewards of now.

    Args:
        replay: the steps.
        source: where rewards come from.
        intrinsic: reward of the exploration.
        num_steps: of every environment, see `NewestSteps`.
    """

    def __init__(
        self,
        replay: ReplayBuffer,
        *,
        source: RewardSource,
        intrinsic: IntrinsicReward,
        num_steps: int,
    ) -> None:
        self.replay = replay
        self.source = source
        self.intrinsic = intrinsic
        self.num_steps = num_steps

    def num_due(self, step: int) -> int:
        """Return one update for each time that every environment has taken its steps."""
        return step // (self.num_steps * self.replay.num_envs)

    def draw(self) -> Batch:
        """Return the steps since the last update in their order."""
        rollout = self.replay.newest(self.num_steps)
        if self.source.is_ready:
            return rollout
        return with_intrinsic(rollout, self.intrinsic, self.replay)

    def warm_up(self) -> Iterator[Batch]:
        """Yield nothing: the steps so far are another policy's."""
        return iter(())


def make_experience(  # noqa: PLR0913  one part of the method each
    wanted: BatchSteps | NewestSteps,
    config: TrainConfig,
    *,
    replay: ReplayBuffer,
    source: RewardSource,
    intrinsic: IntrinsicReward,
    generator: torch.Generator,
) -> Experience:
    """Return the steps of a run as its agent wants them; see `Replayed` and `Newest`."""
    if isinstance(wanted, NewestSteps):
        return Newest(replay, source=source, intrinsic=intrinsic, num_steps=wanted.num_steps)
    return Replayed(
        config,
        replay=replay,
        source=source,
        intrinsic=intrinsic,
        generator=generator,
        steps=wanted,
    )


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
        return with_intrinsic(batch, intrinsic, replay)
    return sample_batch(
        replay, rule if source.is_asking else ReplayRuleConfig(), batch_size, generator, steps
    )


def with_intrinsic(batch: BatchT, intrinsic: IntrinsicReward, replay: ReplayBuffer) -> BatchT:
    """Return the batch with the rewards of exploration, over every state in the buffer."""
    states = batch.observations.flatten(0, -2)
    rewards = intrinsic(states, replay.all_observations())
    return replace(batch, rewards=rewards.view_as(batch.rewards))
