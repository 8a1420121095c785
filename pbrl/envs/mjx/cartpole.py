"""The cart-pole of the control suite."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.envs.mjx.models import load_model
from pbrl.envs.mjx.starts import at_rest, normal, reference_pose
from pbrl.envs.mjx.tolerance import quadratic, tolerance
from pbrl.envs.mjx.world import Physics, Start, World
from pbrl.envs.opengl import mujoco

NOISE = 0.01  # standard deviation of positions and velocities at the start


@dataclass(frozen=True, kw_only=True)
class CartpoleSwingup:
    """Swing a pole up and balance it: `dm_control.suite.cartpole`, the smooth reward."""

    num_substeps: int = 1
    goal_dim: int = 0

    def build_model(self) -> mujoco.MjModel:
        """Return the model."""
        return load_model("cartpole")

    def start(self, physics: Physics, num_envs: int, generator: torch.Generator) -> Start:
        """Let the pole hang, with a little noise."""
        hanging = reference_pose(physics, num_envs).double().clone()
        hanging[:, 1] = math.pi
        qpos = hanging + NOISE * normal((num_envs, physics.model.nq), generator)
        return at_rest(physics, qpos, NOISE * normal((num_envs, physics.model.nv), generator))

    def observe(self, world: World) -> Float[Tensor, "env obs"]:
        """Return the cart's position, cosine and sine of the pole's angle, both velocities."""
        cart, angle = world.state.qpos[:, :1], world.state.qpos[:, 1:]
        return torch.cat([cart, angle.cos(), angle.sin(), world.state.qvel], dim=1)

    def reward(self, world: World) -> Float[Tensor, " env"]:
        """Return the product of upright, centred, calm and effortless, each in [0, 1]."""
        cart, angle = world.state.qpos.unbind(1)
        upright = (angle.cos() + 1) / 2
        centred = (1 + tolerance(cart, margin=2.0)) / 2
        effortless = tolerance(
            world.controls[:, 0], margin=1.0, falloff=quadratic, value_at_margin=0.0
        )
        calm = (1 + tolerance(world.state.qvel[:, 1], margin=5.0)) / 2
        return upright * (4 + effortless) / 5 * calm * centred

    def terminated(self, world: World) -> None:
        """Return None: no state is terminal."""
        del world
