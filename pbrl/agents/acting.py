"""Policies that remember the episode, and what agents ask of a dataset before they learn."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.replay import ReplayBuffer

View = Callable[[Tensor], Tensor]


@runtime_checkable
class EpisodePolicy(Protocol):
    """A policy with a memory of each environment's episode.

    `begin` is called before the first action and wherever an episode has begun; it begins for all
    environments at once when another evaluation does.
    """

    def __call__(self, observations: Float[Tensor, "env obs"]) -> Float[Tensor, "env act"]:
        """Return actions in [-1, 1]."""
        ...

    def begin(self, is_first: Bool[Tensor, " env"]) -> None:
        """Forget the episodes of the environments in which one begins."""
        ...


@runtime_checkable
class ActsByHistory(Protocol):
    """An agent whose actions depend on more than the last observation.

    Its `act` takes every observation for the first of an episode.
    """

    def actor(self, *, deterministic: bool = True) -> EpisodePolicy:
        """Return a policy with a memory of its own, which acts as the agent then is."""
        ...


@runtime_checkable
class LooksAtDataset(Protocol):
    """An agent that takes something from the whole dataset, once, before its first update."""

    def prepare(self, replay: ReplayBuffer) -> None:
        """Look at the dataset, whose rewards are those to learn from; refuse one that is unfit."""
        ...


class ViewedPolicy:
    """An episode policy whose observations are changed first.

    Args:
        policy: who acts.
        view: what is done to observations.
    """

    def __init__(self, policy: EpisodePolicy, view: View) -> None:
        self._policy = policy
        self._view = view

    def __call__(self, observations: Float[Tensor, "env obs"]) -> Float[Tensor, "env act"]:
        """Return actions in [-1, 1]."""
        return self._policy(self._view(observations))

    def begin(self, is_first: Bool[Tensor, " env"]) -> None:
        """Forget the episodes of the environments in which one begins."""
        self._policy.begin(is_first)


def policy_of(agent: Any, view: View | None = None) -> Callable[[Tensor], Tensor]:
    """Return the deterministic policy of any agent, with a memory where it acts by one.

    Args:
        agent: acts as it is when it is asked to.
        view: what is done to observations before the agent sees them.
    """
    if isinstance(agent, ActsByHistory):
        policy = agent.actor(deterministic=True)
        return policy if view is None else ViewedPolicy(policy, view)

    def act(observations: Tensor) -> Tensor:
        seen = observations if view is None else view(observations)
        actions: Tensor = agent.act(seen, deterministic=True)
        return actions

    return act
