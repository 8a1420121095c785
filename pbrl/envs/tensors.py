"""Tensors in, tensors out, around a vector environment that speaks numpy."""

from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv, VectorWrapper
from torch import Tensor

from pbrl.devices import find_device
from pbrl.envs.record import EnvRecord
from pbrl.envs.states import State


class TensorVectorEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """A vector environment whose observations, rewards and flags are tensors on one device.

    On the CPU the tensors share the memory of the arrays. Arrays at the top level of the infos
    (`success`) become tensors too; `final_obs` and `final_info` stay as they are, and
    `pbrl.envs.final_observations` reads them.

    Args:
        env: vector environment with numpy arrays.
        device: where the tensors live.

    Raises:
        ValueError: if the device is not there.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], device: torch.device | str) -> None:
        super().__init__(env)
        self.device = find_device(device)

    @property
    def record(self) -> EnvRecord:
        """What is run."""
        record: EnvRecord = self.env.record  # type: ignore[attr-defined]
        return record

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Tensor, dict[str, Any]]:
        """As `reset` of the environment, with tensors."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return self._tensor(observations), infos

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, dict[str, Any]]:
        """As `step` of the environment, with tensors."""
        observations, rewards, terminated, truncated, infos = self.env.step(
            actions.detach().cpu().numpy()
        )
        for key, value in infos.items():
            if isinstance(value, np.ndarray) and not key.startswith("_") and value.dtype != object:
                infos[key] = self._tensor(value)
        return (
            self._tensor(observations),
            self._tensor(rewards),
            self._tensor(terminated),
            self._tensor(truncated),
            infos,
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def get_state(self, index: int) -> State:
        """Return the simulator's state of one sub-environment."""
        state: State = self.env.get_state(index)  # type: ignore[attr-defined]
        return state

    def set_state(self, index: int, state: State) -> None:
        """Bring one sub-environment into a state of `get_state`."""
        self.env.set_state(index, state)  # type: ignore[attr-defined]
