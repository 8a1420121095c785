"""Policies as the collection calls them: with one generator for each episode in progress."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from pbrl.envs.metaworld_cpl import SUFFIX, with_previous_hand
from pbrl.envs.vector import SerialVectorEnv
from pbrl.offline.collect.sources import Source

Generators = Sequence[np.random.Generator]
Sampler = Callable[[Tensor, Tensor], Tensor]
"""Maps observations `[env, obs]` and standard normal noise `[env, act]` to actions in [-1, 1]."""
OBJECT_X, GOAL = 4, slice(-3, None)  # in Meta-World's observation


@runtime_checkable
class Actor(Protocol):
    """Acts in several environments at once."""

    def __call__(
        self, observations: Float32[np.ndarray, "env obs"], rngs: Generators
    ) -> Float[np.ndarray, "env act"]:
        """Return actions in [-1, 1]; what is drawn for an episode comes from its own generator."""
        ...


class UniformActor:
    """Acts uniformly in [-1, 1].

    Args:
        action_dim: size of an action.
    """

    def __init__(self, action_dim: int) -> None:
        self._action_dim = action_dim

    def __call__(
        self, observations: Float32[np.ndarray, "env obs"], rngs: Generators
    ) -> Float[np.ndarray, "env act"]:
        """Return one action per generator."""
        del observations
        return np.stack([rng.uniform(-1.0, 1.0, self._action_dim) for rng in rngs])


class ScriptedExpert:
    """Meta-World's own scripted expert for the task of an environment.

    It sees the goal even where the observation hides it. Its actions are cut off at [-1, 1], as
    the environment would do.

    Args:
        env: environments of a Meta-World task from `pbrl.envs.make`, official back end.
        offset: see `Source`.

    Raises:
        ValueError: if the environment is no Meta-World task.
    """

    def __init__(self, env: SerialVectorEnv, offset: float = 0.0) -> None:
        source, _, task = env.record.id.partition("/")
        if source != "metaworld":
            raise ValueError(f"only Meta-World has scripted experts, got {env.record.id}")
        from metaworld.policies import ENV_POLICY_MAP  # noqa: PLC0415

        self._is_cpl = task.endswith(SUFFIX)
        experts: Mapping[str, Any] = ENV_POLICY_MAP
        self._policy = experts[task.removesuffix(SUFFIX)]()
        self._lanes = env.lanes
        self._offset = offset

    def __call__(
        self, observations: Float32[np.ndarray, "env obs"], rngs: Generators
    ) -> Float[np.ndarray, "env act"]:
        """Return the expert's actions."""
        del rngs
        with warnings.catch_warnings():  # the experts warn of every action outside [-1, 1]
            warnings.simplefilter("ignore")
            actions = [
                self._policy.get_action(self._full(observation, lane))
                for observation, lane in zip(observations, self._lanes, strict=True)
            ]
        return np.stack(actions).clip(-1.0, 1.0)

    def _full(self, observation: np.ndarray, lane: object) -> np.ndarray:
        """Return the observation in Meta-World's layout, goal shown; experts write into it."""
        full = observation.astype(np.float64)
        full = with_previous_hand(full) if self._is_cpl else full
        full[OBJECT_X] += self._offset
        full[GOAL] = lane.env._get_pos_goal()  # type: ignore[attr-defined]
        return full


class NetworkActor:
    """A learned policy.

    Args:
        policy: maps observations `[env, obs]` to actions; or, with `action_dim`, a `Sampler`.
        action_dim: size of an action, for policies that are sampled; None takes the policy's mode.
    """

    def __init__(self, policy: Callable[..., Tensor], action_dim: int | None = None) -> None:
        self._policy = policy
        self._action_dim = action_dim

    @torch.no_grad()
    def __call__(
        self, observations: Float32[np.ndarray, "env obs"], rngs: Generators
    ) -> Float[np.ndarray, "env act"]:
        """Return the mode or a sample."""
        seen = torch.from_numpy(observations)
        if self._action_dim is None:
            return self._policy(seen).cpu().numpy()
        noise = np.stack([rng.standard_normal(self._action_dim) for rng in rngs])
        return self._policy(seen, torch.from_numpy(noise).float()).cpu().numpy()


class ChangedActor:
    """An actor whose actions are scaled, replaced now and then, and disturbed.

    Args:
        actor: whose actions.
        source: how they are changed.
    """

    def __init__(self, actor: Actor, source: Source) -> None:
        self._actor = actor
        self._source = source

    def __call__(
        self, observations: Float32[np.ndarray, "env obs"], rngs: Generators
    ) -> Float[np.ndarray, "env act"]:
        """Return actions in [-1, 1]."""
        source = self._source
        actions = source.scale * self._actor(observations, rngs)
        if source.random > 0:
            for row, rng in enumerate(rngs):
                if rng.random() < source.random:
                    actions[row] = rng.uniform(-1.0, 1.0, actions.shape[1])
        if source.noise > 0:
            noise = np.stack([rng.standard_normal(actions.shape[1]) for rng in rngs])
            actions = actions + source.noise * noise
        return actions.clip(-1.0, 1.0)
