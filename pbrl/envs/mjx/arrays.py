"""Arrays in, arrays out, around a vector environment that speaks tensors."""

from typing import Any

import numpy as np
from gymnasium.vector import VectorWrapper
from torch import Tensor

from pbrl.envs.mjx.vector import BatchedVectorEnv
from pbrl.envs.record import EnvRecord
from pbrl.envs.states import State
from pbrl.envs.vector import StepResult


class ArrayVectorEnv(VectorWrapper[Any, Any, Any, Any, Any]):
    """A `BatchedVectorEnv` behind the interface of `SerialVectorEnv`.

    Args:
        env: what runs; on the CPU the arrays share the memory of its tensors.
    """

    env: BatchedVectorEnv

    def __init__(self, env: BatchedVectorEnv) -> None:
        super().__init__(env)

    @property
    def record(self) -> EnvRecord:
        """What is run."""
        return self.env.record

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """As `reset` of the environment, with arrays."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return _array(observations), infos

    def step(self, actions: Any) -> StepResult:
        """As `step` of the environment, with arrays, and final observations as Gymnasium's."""
        *outcome, infos = self.env.step(actions)
        observations, rewards, terminated, truncated = map(_array, outcome)
        if "final_obs" in infos:
            is_final = _array(infos["_final_obs"])
            infos = _final_infos(_array(infos["final_obs"]), is_final) if is_final.any() else {}
        return observations, rewards, terminated, truncated, infos

    def get_state(self, index: int) -> State:
        """Return the state of one world."""
        return self.env.get_state(index)

    def set_state(self, index: int, state: State) -> None:
        """Bring one world into a state of `get_state`."""
        self.env.set_state(index, state)


def _final_infos(observations: np.ndarray, is_final: np.ndarray) -> dict[str, Any]:
    finals = np.full(len(is_final), None, dtype=object)
    for row in np.flatnonzero(is_final):
        finals[row] = observations[row]
    return {
        "final_obs": finals,
        "_final_obs": is_final,
        "final_info": {},
        "_final_info": is_final,
    }


def _array(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array
