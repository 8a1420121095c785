"""Policies that remember the episode, and what agents ask of a dataset before they learn."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
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


class AgentPolicy:
    """The deterministic policy of an agent that acts by history.

    When an episode begins in all environments at once, it acts from then on as the agent then is.

    Args:
        agent: who acts.
        view: what is done to observations; None leaves them.
    """

    def __init__(self, agent: ActsByHistory, view: View | None = None) -> None:
        self._agent = agent
        self._view = view
        self._actor: EpisodePolicy | None = None

    def __call__(self, observations: Float[Tensor, "env obs"]) -> Float[Tensor, "env act"]:
        """Return actions in [-1, 1]."""
        if self._actor is None:
            self.begin(torch.ones(len(observations), dtype=torch.bool))
        assert self._actor is not None  # `begin` made one
        return self._actor(observations if self._view is None else self._view(observations))

    def begin(self, is_first: Bool[Tensor, " env"]) -> None:
        """Forget the episodes of the environments in which one begins."""
        if self._actor is None or bool(is_first.all()):
            self._actor = self._agent.actor(deterministic=True)
        self._actor.begin(is_first)


def policy_of(agent: Any, view: View | None = None) -> Callable[[Tensor], Tensor]:
    """Return the deterministic policy of any agent, with a memory where it acts by one.

    Args:
        agent: acts as it is when it is asked to.
        view: what is done to observations before the agent sees them.
    """
    if isinstance(agent, ActsByHistory):
        return AgentPolicy(agent, view)

    def act(observations: Tensor) -> Tensor:
        seen = observations if view is None else view(observations)
        actions: Tensor = agent.act(seen, deterministic=True)
        return actions

    return act
