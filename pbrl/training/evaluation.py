"""Scores of a policy: complete episodes of a vector environment."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.agents.acting import EpisodePolicy

MAX_EPISODE_STEPS = 100_000

Policy = Callable[[Tensor], Tensor]
"""Maps observations `[env, obs]` to actions `[env, act]` in [-1, 1].

One that is an `EpisodePolicy` is told where an episode begins.
"""


@dataclass(frozen=True)
class Evaluation:
    """What complete episodes came to.

    Attributes:
        returns: sum of the environment's rewards of each episode.
        lengths: steps of each episode.
        successes: whether the episode was a success at any of its steps; None where the
            environment does not say.
    """

    returns: Float[np.ndarray, " episode"]
    lengths: Int[np.ndarray, " episode"]
    successes: Bool[np.ndarray, " episode"] | None

    @property
    def mean_return(self) -> float:
        """Mean over the episodes."""
        return float(self.returns.mean())

    @property
    def success_rate(self) -> float | None:
        """Share of successes in [0, 1]; None where the environment does not say."""
        return None if self.successes is None else float(self.successes.mean())

    @property
    def score_name(self) -> str:
        """`success` where the environment reports it, otherwise `return`."""
        return "return" if self.successes is None else "success"

    @property
    def score(self) -> float:
        """Success rate in [0, 1] where the environment reports success, otherwise mean return."""
        return self.mean_return if self.success_rate is None else self.success_rate


def evaluate(
    act: Policy, env: VectorEnv[Any, Any, Any], num_episodes: int, *, seed: int | None = None
) -> Evaluation:
    """Return the outcome of exactly `num_episodes` complete episodes.

    Every sub-environment plays a number of episodes fixed beforehand. Taking the first episodes
    that end would favour the short ones. An episode is a success when `infos["success"]` was true
    at any of its steps, as in Meta-World's own evaluation.

    Args:
        act: the policy, deterministic if the score is to be.
        env: of `pbrl.envs.make`, with arrays or tensors; it is reset first.
        num_episodes: how many, at least 1.
        seed: of the environment; None goes on with its generators.

    Raises:
        ValueError: if the number is not positive, the environment does not reset in the step that
            ends an episode, its rewards are not finite, or an episode does not end within 100,000
            steps.
    """
    if num_episodes < 1:
        raise ValueError(f"num_episodes must be at least 1, got {num_episodes}")
    if env.metadata.get("autoreset_mode") != AutoresetMode.SAME_STEP:
        raise ValueError("the environment must reset in the step that ends an episode (SAME_STEP)")
    observations, _ = env.reset(seed=seed)
    begin_episodes(act, np.ones(env.num_envs, np.bool_))
    tally = _Tally(env.num_envs, num_episodes)
    while not tally.is_complete:
        observations, rewards, terminated, truncated, infos = env.step(_actions(act, observations))
        ended = _array(terminated) | _array(truncated)
        begin_episodes(act, ended)
        tally.add(_array(rewards), ended, infos.get("success"))
    return tally.result()


def begin_episodes(act: Policy, is_first: Bool[np.ndarray, " env"]) -> None:
    """Tell a policy that remembers in which environments an episode begins; others need not know.

    Args:
        act: the policy.
        is_first: whether the next observation is the first of an episode.
    """
    if is_first.any() and isinstance(act, EpisodePolicy):
        act.begin(torch.from_numpy(is_first))


def random_policy(action_dim: int, generator: torch.Generator) -> Policy:
    """Return a policy that acts uniformly in [-1, 1] whatever it sees."""

    def act(observations: Tensor) -> Tensor:
        shape = (len(observations), action_dim)
        return 2.0 * torch.rand(shape, generator=generator, device=generator.device) - 1.0

    return act


class _Tally:
    """Sums rewards per sub-environment until each has played its share of the episodes."""

    def __init__(self, num_envs: int, num_episodes: int) -> None:
        share, rest = divmod(num_episodes, num_envs)
        self._left = share + (np.arange(num_envs) < rest)  # episodes to go, [env]
        self._returns = np.zeros(num_envs)
        self._lengths = np.zeros(num_envs, np.int64)
        self._succeeded = np.zeros(num_envs, np.bool_)
        self._reports_success = False
        self._episodes: list[tuple[float, int, bool]] = []

    @property
    def is_complete(self) -> bool:
        return not self._left.any()

    def add(self, rewards: np.ndarray, ended: np.ndarray, success: Any) -> None:
        self._returns += rewards
        self._lengths += 1
        if success is not None:
            self._reports_success = True
            self._succeeded |= _array(success).astype(np.bool_)
        if self._lengths.max() > MAX_EPISODE_STEPS:
            raise ValueError(
                f"an episode has run for {MAX_EPISODE_STEPS:,} steps without end; give the "
                "environment a time limit (max_episode_steps)"
            )
        if ended.any():
            self._close(ended)

    def _close(self, ended: np.ndarray) -> None:
        for env in np.flatnonzero(ended & (self._left > 0)):
            self._episodes.append(
                (float(self._returns[env]), int(self._lengths[env]), bool(self._succeeded[env]))
            )
        self._left -= ended & (self._left > 0)
        self._returns[ended] = 0.0
        self._lengths[ended] = 0
        self._succeeded[ended] = False

    def result(self) -> Evaluation:
        returns, lengths, successes = (
            np.array(column) for column in zip(*self._episodes, strict=True)
        )
        if not np.isfinite(returns).all():
            raise ValueError(f"the environment gave rewards that are not finite: returns {returns}")
        return Evaluation(returns, lengths, successes if self._reports_success else None)


def _actions(act: Policy, observations: Any) -> Any:
    """Return actions in the kind of array that the environment speaks."""
    with torch.no_grad():
        actions = act(torch.as_tensor(observations))
    return actions if isinstance(observations, Tensor) else actions.cpu().numpy()


def _array(values: Any) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
