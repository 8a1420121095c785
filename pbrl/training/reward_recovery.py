"""How far a learned reward goes along with the true one, where that is known."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.replay import ReplayBuffer
from pbrl.training.reward_source import Metrics

STEP_CORRELATION, SEGMENT_CORRELATION = "reward/correlation", "reward/segment_correlation"
RECENT_EPISODES, NUM_STEPS = 10, 5_000


@runtime_checkable
class LearnedReward(Protocol):
    """A reward of steps, once there is one."""

    @property
    def is_ready(self) -> bool:
        """Whether it has learned from anything."""
        ...

    def rewards(
        self, observations: Float[Tensor, "step obs"], actions: Float[Tensor, "step act"]
    ) -> Float[Tensor, " step"]:
        """Return the reward of each step."""
        ...


class RewardRecovery:
    """Correlation of a learned reward with the true one, on segments of what was done lately.

    The segments are drawn anew at every call from the last ten episodes, as many as have 5,000
    steps, with a generator of its own: measuring changes nothing of a run.

    Args:
        source: the learned reward.
        replay: the steps of the run.
        segment_steps: steps of a segment.
        seed: of the segments.
    """

    def __init__(
        self, source: LearnedReward, replay: ReplayBuffer, segment_steps: int, *, seed: int
    ) -> None:
        self._source = source
        self._replay = replay
        self._segment_steps = segment_steps
        self._seed = seed

    def __call__(self) -> Metrics:
        """Return Pearson's correlation over steps and over the sums of segments.

        Nothing before there is a learned reward, and none that is undefined, see `correlation`.
        """
        if not self._source.is_ready:
            return {}
        generator = torch.Generator(self._replay.device).manual_seed(self._seed)
        episodes = self._replay.completed_episodes(last=RECENT_EPISODES)
        number = -(-NUM_STEPS // self._segment_steps)
        try:
            index = self._replay.sample_segments(number, self._segment_steps, generator, episodes)
        except ValueError:  # all of them are shorter
            return {}
        segments = self._replay.gather(index)
        learned = self._source.rewards(
            segments.observations.flatten(0, 1), segments.actions.flatten(0, 1)
        )
        return recovery(learned.view_as(segments.true_rewards), segments.true_rewards)


def recovery(
    learned: Float[Tensor, "segment time"], true: Float[Tensor, "segment time"]
) -> Metrics:
    """Return the correlation of rewards over steps, and of their sums over segments.

    One that is undefined is left out.
    """
    found = {
        STEP_CORRELATION: correlation(learned.flatten(), true.flatten()),
        SEGMENT_CORRELATION: correlation(learned.sum(1), true.sum(1)),
    }
    return {name: value for name, value in found.items() if value is not None}


def correlation(one: Float[Tensor, " sample"], other: Float[Tensor, " sample"]) -> float | None:
    """Return Pearson's correlation, in [-1, 1]; None where one of them does not vary."""
    if bool((one == one[:1]).all()) or bool((other == other[:1]).all()):
        return None
    pair = torch.stack([one, other]).to(torch.float64)
    return float(torch.corrcoef(pair)[0, 1].clamp(-1.0, 1.0))
