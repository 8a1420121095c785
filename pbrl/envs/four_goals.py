"""A point mass in the plane with four goals: the smallest task on which preferences show.

Importing this module registers it with Gymnasium: `make("gym/pbrl.envs.four_goals:FourGoals-v0")`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float32

ENV_ID = "gym/pbrl.envs.four_goals:FourGoals-v0"
NAME = "FourGoals-v0"
STEPS = 50
STEP_SIZE = 0.1
START_STD = 0.1
GOALS = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
STILL_RETURN, BEST_RETURN = -50.4, -5.59  # of doing nothing, and of heading for the first goal


class FourGoals(gymnasium.Env[Float32[np.ndarray, " 2"], Float32[np.ndarray, " 2"]]):
    """x' = x + 0.1 u with |u_i| <= 1, from near the origin; the reward is minus ||x' - (1, 0)||.

    Behaviour data may head for any of the goals; the reward knows the first alone.
    """

    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float32[np.ndarray, " 2"], dict[str, Any]]:
        """Draw a place near the origin."""
        super().reset(seed=seed, options=options)
        self._place = self.np_random.normal(0, START_STD, 2).astype(np.float32)
        return self._place, {}

    def step(
        self, action: Float32[np.ndarray, " 2"]
    ) -> tuple[Float32[np.ndarray, " 2"], float, bool, bool, dict[str, Any]]:
        """Move."""
        self._place = moved(self._place, action)
        return self._place, float(reward(self._place)), False, False, {}


def moved(
    places: Float32[np.ndarray, "*batch 2"], actions: Float32[np.ndarray, "*batch 2"]
) -> Float32[np.ndarray, "*batch 2"]:
    """Return where actions lead to."""
    arrived: Float32[np.ndarray, "*batch 2"] = places + np.float32(STEP_SIZE) * np.clip(
        actions, -1, 1
    )
    return arrived


def reward(places: Float32[np.ndarray, "*batch 2"]) -> Float32[np.ndarray, "*batch"]:
    """Return what arriving at places is worth."""
    return np.asarray(-np.linalg.norm(places - GOALS[0], axis=-1))


gymnasium.register(NAME, entry_point=f"{__name__}:FourGoals", max_episode_steps=STEPS)
