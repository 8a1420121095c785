"""Checks that every vector environment applies to what comes in and what goes out."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from jaxtyping import Float32, Real

FloatArray = Float32[np.ndarray, "..."]


class EnvironmentFault(ValueError):
    """An environment returned something that is not a finite number, or its simulation broke."""


def check_finite(
    env_id: str,
    step: int,
    observations: Real[np.ndarray, "env obs"],
    rewards: Float32[np.ndarray, " env"] | None = None,
) -> None:
    """Refuse NaN and infinity, saying where they came from.

    Args:
        env_id: id of the environment.
        step: number of steps since the vector environment was made; 0 is the first reset.
        observations: observations of all sub-environments.
        rewards: their rewards; None after a reset.

    Raises:
        EnvironmentFault: naming the environment, the sub-environment, the step and the values.
    """
    if np.isfinite(observations).all() and (rewards is None or np.isfinite(rewards).all()):
        return
    is_bad = ~np.isfinite(observations)
    if is_bad.any():
        index = int(is_bad.any(1).argmax())
        places = np.flatnonzero(is_bad[index])
        what = f"observation {observations[index, places]} at position(s) {places}"
    else:
        assert rewards is not None
        index = int((~np.isfinite(rewards)).argmax())
        what = f"reward {rewards[index]}"
    raise EnvironmentFault(f"{env_id}: sub-environment {index} returned {what} in step {step}")


def check_actions(actions: Any, shape: tuple[int, ...]) -> Float32[np.ndarray, "env act"]:
    """Return actions as a float32 array clipped to [-1, 1].

    Raises:
        ValueError: if the shape is wrong or an action is not a number.
    """
    if isinstance(actions, torch.Tensor):
        actions = actions.detach().cpu().numpy()
    actions = np.asarray(actions, dtype=np.float32)
    if actions.shape != shape:
        raise ValueError(f"actions must have shape {shape}, got {actions.shape}")
    if np.isnan(actions).any():
        index = int(np.isnan(actions).any(1).argmax())
        raise ValueError(f"actions[{index}] is not a number: {actions[index]}")
    clipped: np.ndarray = actions.clip(-1.0, 1.0)
    return clipped


def check_action_space(space: spaces.Space[Any], env_id: str) -> spaces.Box:
    """Return the action space if actions can be scaled to [-1, 1].

    Raises:
        ValueError: if the space is discrete or has no finite bounds.
    """
    if not isinstance(space, spaces.Box):
        raise ValueError(
            f"{env_id} has the action space {space}; only continuous actions (a Box) are "
            "supported. With discrete actions, algorithms of stable-baselines3 learn from "
            "preferences: pbrl.sb3"
        )
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ValueError(f"{env_id} must have finite action bounds, got {space}")
    return space


def autoreset_mode(env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Return the autoreset mode that a vector environment declares in its metadata.

    Raises:
        ValueError: if it declares none.
    """
    mode = env.metadata.get("autoreset_mode")
    if mode is None:
        raise ValueError(
            f"{env} declares no autoreset mode: set env.metadata['autoreset_mode'] to the "
            "gymnasium.vector.AutoresetMode that it follows"
        )
    return AutoresetMode(mode)


def final_observations(next_observations: Any, infos: dict[str, Any]) -> Any:
    """Return the true next observations of a step, never those after a reset.

    For vector environments with `AutoresetMode.SAME_STEP`, ours or any other: rows of finished
    episodes are replaced by `infos["final_obs"]`. With `AutoresetMode.NEXT_STEP` or `DISABLED`
    the observations that `step` returns are already the true ones, and this function returns them
    as they are; with NEXT_STEP the call after the end of an episode is a reset that belongs to no
    episode and has to be left out (`RecordSegments` does so).

    Args:
        next_observations: observations returned by `step`, `[env, obs]`, array or tensor; left
            unchanged.
        infos: infos returned by the same call.
    """
    if "final_obs" not in infos:
        return next_observations
    if isinstance(infos["final_obs"], torch.Tensor):  # of batched physics, on its device
        return torch.where(infos["_final_obs"][:, None], infos["final_obs"], next_observations)
    finals, is_final = infos["final_obs"], np.asarray(infos["_final_obs"], dtype=np.bool_)
    rows = np.flatnonzero(is_final)
    if isinstance(next_observations, torch.Tensor):
        tensor = next_observations.clone()
        tensor[torch.from_numpy(rows)] = torch.from_numpy(np.stack(finals[rows])).to(tensor)
        return tensor
    array = np.array(next_observations)
    array[rows] = np.stack(finals[rows])
    return array
