"""The planar cheetah of the control suite."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.envs.mjx.models import load_model
from pbrl.envs.mjx.starts import at_rest, random_joints, reference_pose
from pbrl.envs.mjx.tolerance import linear, tolerance
from pbrl.envs.mjx.world import Physics, Start, World
from pbrl.envs.opengl import mujoco

RUN_SPEED = 10.0  # metres per second
SETTLING_STEPS = 200  # physics steps of every reset


@dataclass(frozen=True, kw_only=True)
class CheetahRun:
    """Run: `dm_control.suite.cheetah`."""

    num_substeps: int = 1
    goal_dim: int = 0

    def build_model(self) -> mujoco.MjModel:
        """Return the model; it measures its own speed."""
        return load_model("cheetah")

    def start(self, physics: Physics, num_envs: int, generator: torch.Generator) -> Start:
        """Draw the limited joints and let the body fall to the ground.

        The suite moves the joints only after the forces were computed, so that the first of its
        physics steps has the acceleration of the reference pose.
        """
        qpos = random_joints(physics, num_envs, generator, free_hinges=False)
        rest = at_rest(physics, reference_pose(physics, num_envs)).state
        idle = torch.zeros(num_envs, physics.model.nu, dtype=physics.dtype, device=physics.device)
        fallen = physics.step(rest, idle, 1)
        moved = (qpos + (fallen.qpos - rest.qpos)).to(physics.dtype)
        settled = physics.step(replace(fallen, qpos=moved), idle, SETTLING_STEPS - 1)
        return at_rest(physics, settled.qpos, settled.qvel)

    def observe(self, world: World) -> Float[Tensor, "env obs"]:
        """Return positions but the horizontal one, then velocities."""
        return torch.cat([world.state.qpos[:, 1:], world.state.qvel], dim=1)

    def reward(self, world: World) -> Float[Tensor, " env"]:
        """Return the horizontal speed as a share of 10 m/s, in [0, 1]."""
        speed = world.sensor("torso_subtreelinvel")[:, 0]
        return tolerance(
            speed,
            (RUN_SPEED, float("inf")),
            margin=RUN_SPEED,
            falloff=linear,
            value_at_margin=0.0,
        )

    def terminated(self, world: World) -> None:
        """Return None: no state is terminal."""
        del world
