"""Stepping a vector environment into a replay buffer."""

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from gymnasium.vector import VectorEnv
from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.envs import final_observations
from pbrl.replay import ReplayBuffer

FINAL = "final_obs"  # is there where an episode has ended; else nothing need be waited for
NUM_RECENT_EPISODES = 10  # B-Pref: teachers scale their thresholds by the last ten returns


@runtime_checkable
class StepRewards(Protocol):
    """The reward stored with a new step, given what the environment itself paid."""

    def __call__(
        self,
        observations: Float[Tensor, "env obs"],
        actions: Float[Tensor, "env act"],
        true_rewards: Float[Tensor, " env"],
    ) -> Float[Tensor, " env"]:
        """Return one reward per environment."""
        ...


@runtime_checkable
class EpisodeWatcher(Protocol):
    """Somebody who looks at environments when episodes begin."""

    def watch(self, env: VectorEnv, replay: ReplayBuffer) -> None:
        """Get to know all environments, and where their steps go."""
        ...

    def episodes_begin(self, lanes: Sequence[int]) -> None:
        """Look at the environments of these numbers, whose next step is the first of an episode.

        The open episodes of the replay buffer are those that begin.
        """
        ...


class Collector:
    """Keeps a vector environment going and remembers how its last episodes went.

    Args:
        env: a vector environment with torch tensors in and out, see `pbrl.envs.make`.
        replay: where the steps go.
        seed: of the first reset.
        watcher: looks at the environments when episodes begin.
    """

    def __init__(
        self,
        env: VectorEnv,
        replay: ReplayBuffer,
        seed: int,
        watcher: EpisodeWatcher | None = None,
    ) -> None:
        self.env = env
        self.replay = replay
        self.watcher = watcher
        if watcher is not None:
            watcher.watch(env, replay)
        self._beginning = list(range(env.num_envs))
        self.observations: Tensor = env.reset(seed=seed)[0]
        device = self.observations.device
        self._returns = torch.zeros(env.num_envs, dtype=torch.float64, device=device)
        self._succeeded = torch.zeros(env.num_envs, dtype=torch.bool, device=device)
        self.recent_returns: deque[float] = deque(maxlen=NUM_RECENT_EPISODES)
        self.recent_successes: deque[float] = deque(maxlen=NUM_RECENT_EPISODES)

    @property
    def recent_return(self) -> float:
        """Mean true return of the last training episodes; 0 before the first one ended."""
        return sum(self.recent_returns) / len(self.recent_returns) if self.recent_returns else 0.0

    def step(self, actions: Float[Tensor, "env act"], step_rewards: StepRewards) -> None:
        """Take one step in every environment and store it."""
        if self.watcher is not None and self._beginning:
            self.watcher.episodes_begin(self._beginning)
        observations = self.observations
        following, true_rewards, terminated, truncated, infos = self.env.step(actions)
        true_rewards = true_rewards.to(torch.float32)
        self.replay.add(
            observations,
            actions,
            step_rewards(observations, actions, true_rewards),
            true_rewards,
            final_observations(following, infos),
            terminated,
            truncated,
            may_end=FINAL in infos,
        )
        self.observations = following
        self._account(true_rewards, terminated | truncated, infos)

    def _account(
        self, true_rewards: Float[Tensor, " env"], ended: Bool[Tensor, " env"], infos: Any
    ) -> None:
        self._returns += true_rewards
        if "success" in infos:
            self._succeeded |= torch.as_tensor(infos["success"], device=ended.device).bool()
        self._beginning = []
        if FINAL not in infos or not bool(ended.any()):
            return
        self._beginning = ended.nonzero()[:, 0].tolist()
        self.recent_returns.extend(self._returns[ended].tolist())
        self.recent_successes.extend(self._succeeded[ended].double().tolist())
        self._returns.masked_fill_(ended, 0.0)
        self._succeeded.masked_fill_(ended, False)

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives an interruption; the episodes in progress do not."""
        return {
            "recent_returns": list(self.recent_returns),
            "recent_successes": list(self.recent_successes),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.recent_returns.extend(state["recent_returns"])
        self.recent_successes.extend(state["recent_successes"])
