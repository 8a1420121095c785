"""What an update of an agent learns from: transitions of one step or of several, or whole rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Transitions for an agent's update; those of several seeds have one more axis in front.

    Attributes:
        observations: `[batch, obs]`.
        actions: `[batch, act]`, in [-1, 1].
        rewards: the reward that the agent learns from, `[batch]`.
        next_observations: `[batch, obs]`; at the end of an episode its true last observation.
        terminated: 1.0 where the episode ended in a terminal state, so nothing is bootstrapped.
            The end of the time limit is not a terminal state.
    """

    observations: Real[Tensor, "*seed batch obs"]
    actions: Float[Tensor, "*seed batch act"]
    rewards: Float[Tensor, "*seed batch"]
    next_observations: Real[Tensor, "*seed batch obs"]
    terminated: Float[Tensor, "*seed batch"]

    def seen_through(self, view: Callable[[Tensor], Tensor]) -> "Batch":
        """Return the same transitions with every observation as `view` shows it."""
        return replace(
            self,
            observations=view(self.observations),
            next_observations=view(self.next_observations),
        )


@dataclass(frozen=True)
class MultiStepBatch(Batch):
    """Transitions that reach over several steps, `BatchSteps` says how many.

    Rewards are discounted sums over the n steps, and next observations what came after those.

    Attributes:
        action_sequences: K actions, `actions` the first of them; 0 after the end of the episode.
        later_observations: what came after all K, or at the end of the episode its last
            observation; the same tensor as `next_observations` if K = n.
        is_whole: whether the episode holds all K steps.
    """

    action_sequences: Float[Tensor, "batch time act"]
    later_observations: Real[Tensor, "batch obs"]
    is_whole: Bool[Tensor, " batch"]

    def seen_through(self, view: Callable[[Tensor], Tensor]) -> "MultiStepBatch":
        """Return the same transitions with every observation as `view` shows it."""
        return replace(
            self,
            observations=view(self.observations),
            next_observations=view(self.next_observations),
            later_observations=view(self.later_observations),
        )


@dataclass(frozen=True)
class Rollout(Batch):
    """The newest steps of every environment, in the order in which they were taken.

    Axes of time and environment, `[time, env]`, stand in place of that of the batch.

    Attributes:
        is_last: whether nothing follows a step here: its episode ended with it, terminated or
            truncated, or it is the newest one.
    """

    is_last: Bool[Tensor, "*seed batch"]


@dataclass(frozen=True, kw_only=True)
class BatchSteps:
    """How far the transitions of an update reach.

    Attributes:
        num_rewards: n, steps whose rewards are summed in front of the next observation.
        num_actions: K, actions that are told, up to the later observation.
        discount: gamma between the rewards of the sum, in [0, 1].
    """

    num_rewards: int = 1
    num_actions: int = 1
    discount: float = 0.99

    def __post_init__(self) -> None:
        for name in ("num_rewards", "num_actions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount must lie in [0, 1], got {self.discount}")

    @property
    def length(self) -> int:
        """Steps of one episode that a transition takes."""
        return max(self.num_rewards, self.num_actions)


ONE_STEP = BatchSteps()


@dataclass(frozen=True, kw_only=True)
class NewestSteps:
    """That an update learns from the newest steps of every environment, and from each step once.

    Attributes:
        num_steps: of every environment; an update is due whenever so many more have been taken.
    """

    num_steps: int

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")


def multistep(batch: Batch, steps: BatchSteps) -> MultiStepBatch:
    """Return a batch that was drawn for these steps as one that tells of its actions.

    Raises:
        TypeError: if it holds transitions of one step although more were asked for.
    """
    if isinstance(batch, MultiStepBatch):
        return batch
    if steps.length > 1:
        raise TypeError(f"the batch must reach over {steps}, got transitions of one step")
    return MultiStepBatch(
        **vars(batch),
        action_sequences=batch.actions[:, None],
        later_observations=batch.next_observations,
        is_whole=torch.ones_like(batch.rewards, dtype=torch.bool),
    )
