"""The two-link arm of the control suite."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.envs.mjx.models import load_model
from pbrl.envs.mjx.starts import at_rest, random_joints, uniform
from pbrl.envs.mjx.tolerance import tolerance
from pbrl.envs.mjx.world import Physics, Start, World
from pbrl.envs.opengl import mujoco

LINK = 0.12  # metres from joint to joint, and from the second one to the finger
FINGER = 0.01  # radius
NEAREST, FARTHEST = 0.05, 0.20  # of the target from the shoulder


@dataclass(frozen=True, kw_only=True)
class Reacher:
    """Touch a target: `dm_control.suite.reacher`.

    The target has no part in the physics; where it lies is the goal of the world.

    Attributes:
        target_radius: 0.05 m in `easy`, 0.015 m in `hard`.
        num_substeps: physics steps per action.
        goal_dim: numbers of a goal.
    """

    target_radius: float
    num_substeps: int = 1
    goal_dim: int = 2

    def build_model(self) -> mujoco.MjModel:
        """Return the model."""
        model = load_model("reacher")
        model.geom("target").size[0] = self.target_radius
        return model

    def start(self, physics: Physics, num_envs: int, generator: torch.Generator) -> Start:
        """Draw both joints and the target."""
        qpos = random_joints(physics, num_envs, generator, free_hinges=True)
        share = uniform((num_envs, 2), generator)
        angle = 2 * math.pi * share[:, 0]
        radius = NEAREST + (FARTHEST - NEAREST) * share[:, 1]
        goals = torch.stack([radius * angle.sin(), radius * angle.cos()], dim=1)
        return at_rest(physics, qpos, goals=goals)

    def observe(self, world: World) -> Float[Tensor, "env obs"]:
        """Return the joints' positions, the way to the target, the joints' velocities."""
        return torch.cat([world.state.qpos, _to_target(world), world.state.qvel], dim=1)

    def reward(self, world: World) -> Float[Tensor, " env"]:
        """Return 1 while the finger touches the target, otherwise 0."""
        distance = _to_target(world).norm(dim=1)
        return tolerance(distance, (0.0, self.target_radius + FINGER))

    def terminated(self, world: World) -> None:
        """Return None: no state is terminal."""
        del world


def _to_target(world: World) -> Float[Tensor, "env 2"]:
    """Return the way from finger to target in the plane."""
    angles = world.state.qpos.cumsum(1)  # of both links against the x-axis
    finger = LINK * torch.stack([angles.cos().sum(1), angles.sin().sum(1)], dim=1)
    return world.goals - finger
