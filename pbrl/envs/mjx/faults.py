"""Simulations that diverge: found at once on the CPU, without waiting on an accelerator."""

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.envs.checks import EnvironmentFault
from pbrl.envs.mjx.world import Physics, PhysicsState
from pbrl.envs.opengl import mujoco

PATIENCE = 100  # steps between looks at an accelerator
NO_STEP = -1


class FaultWatch:
    """Notes the first step in which each world broke.

    A world is broken when an observation or its reward is not finite, or a velocity is greater
    than what MuJoCo's greatest valid acceleration, 1e10, gives in one physics step. On the CPU
    that is said in the same step. On an accelerator looking means waiting, so that it is said up to
    100 steps later, or at the end of an episode.

    Args:
        env_id: id of the environment.
        num_envs: number of worlds.
        physics: the back end.
    """

    def __init__(self, env_id: str, num_envs: int, physics: Physics) -> None:
        self._env_id = env_id
        self._max_speed = float(mujoco.mjMAXVAL) * float(physics.model.opt.timestep)
        self._is_immediate = physics.device.type == "cpu"
        self._first = torch.full((num_envs,), NO_STEP, device=physics.device)
        self._num_steps = 0

    def add(
        self,
        state: PhysicsState,
        observations: Float[Tensor, "env obs"],
        rewards: Float[Tensor, " env"],
    ) -> None:
        """Look at the outcome of a step.

        Raises:
            EnvironmentFault: if a world broke, now or in a step since the last look.
        """
        self._num_steps += 1
        is_broken = (
            ~(state.qvel.abs() <= self._max_speed).all(1)  # so written, NaN counts as well
            | ~observations.isfinite().all(1)
            | ~rewards.isfinite()
        )
        is_new = is_broken & (self._first == NO_STEP)
        self._first = self._first.masked_fill(is_new, self._num_steps)
        if self._is_immediate or self._num_steps % PATIENCE == 0:
            self.report()

    def report(self) -> None:
        """Wait for the device and say what broke.

        Raises:
            EnvironmentFault: naming the environment, the worlds and the steps.
        """
        worlds = (self._first != NO_STEP).nonzero()[:, 0]
        if len(worlds) == 0:
            return
        world = int(worlds[0])
        others = f", and {len(worlds) - 1} more worlds broke" if len(worlds) > 1 else ""
        raise EnvironmentFault(
            f"{self._env_id}: the simulation of world {world} diverged in step "
            f"{int(self._first[world])}: positions, velocities or rewards are no longer finite"
            f"{others}"
        )


def check_numbers(actions: Float[Tensor, "env act"]) -> None:
    """Refuse actions that are not numbers.

    Raises:
        ValueError: naming the first world.
    """
    if actions.isnan().any():
        index = int(actions.isnan().any(1).to(torch.uint8).argmax())
        raise ValueError(f"actions[{index}] is not a number: {actions[index].tolist()}")
