"""Gymnasium's vector environments as those of stable-baselines3."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn
from torch import Tensor

from pbrl.envs.checks import autoreset_mode


class GymnasiumVecEnv(VecEnv):
    """A Gymnasium vector environment behind the interface of stable-baselines3.

    The infos of an episode's last step hold its true last observation (`terminal_observation`),
    whether time was up (`TimeLimit.truncated`, false in a terminal state) and, where the
    environment reports success, whether there was any in the episode (`is_success`).

    Args:
        env: with the autoreset mode SAME_STEP, as `pbrl.envs.make` returns it, with arrays or
            tensors.

    Raises:
        ValueError: if the environment has another autoreset mode.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        mode = autoreset_mode(env)
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f"stable-baselines3 expects environments that reset in the step that ends an "
                f"episode: make {env} with AutoresetMode.SAME_STEP, not {mode}"
            )
        self.env = env
        self._actions: Any = None
        self._takes_tensors = False
        self._succeeded = np.zeros(env.num_envs, np.bool_)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> np.ndarray:
        """Start an episode in every environment, with the seeds of `seed` the first time."""
        seeds: Any = None if None in self._seeds else self._seeds
        observations, _ = self.env.reset(seed=seeds)
        self._takes_tensors = isinstance(observations, Tensor)
        self._reset_seeds()
        self._succeeded[:] = False
        return _array(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Note the actions of the next `step_wait`."""
        self._actions = torch.as_tensor(actions) if self._takes_tensors else actions

    def step_wait(self) -> VecEnvStepReturn:
        """Take one step in every environment."""
        observations, rewards, terminated, truncated, infos = self.env.step(self._actions)
        terminated, truncated = _array(terminated), _array(truncated)
        ended = terminated | truncated
        rows: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(ended):
            rows[index]["terminal_observation"] = np.asarray(infos["final_obs"][index])
            rows[index]["TimeLimit.truncated"] = bool(truncated[index] and not terminated[index])
        self._note_success(infos, ended, rows)
        return _array(observations), _array(rewards), ended, rows

    def _note_success(
        self, infos: dict[str, Any], ended: np.ndarray, rows: list[dict[str, Any]]
    ) -> None:
        # Gymnasium's own environments put what belongs to the last step into `final_info` alone.
        parts = [part for part in (infos, infos.get("final_info", {})) if "success" in part]
        if not parts:
            return
        success = np.any([_array(part["success"]).astype(np.bool_) for part in parts], axis=0)
        self._succeeded |= success
        for index, row in enumerate(rows):
            row["success"] = bool(success[index])
            if ended[index]:
                row["is_success"] = bool(self._succeeded[index])
        self._succeeded[ended] = False

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a frame of every environment."""
        frames: Any = self.env.render()
        return list(frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of the whole vector environment, once for each environment."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse: single environments cannot be reached through a vector environment."""
        raise NotImplementedError(f"cannot set {attr_name}: make the environment with it")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Refuse: single environments cannot be reached through a vector environment."""
        raise NotImplementedError(f"cannot call {method_name} of a single environment")

    def env_is_wrapped(self, wrapper_class: Any, indices: VecEnvIndices = None) -> list[bool]:
        """Return false for each environment."""
        del wrapper_class
        return [False for _ in self._get_indices(indices)]


def _array(values: Any) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
