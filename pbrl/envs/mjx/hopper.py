"""The planar hopper of the control suite."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.envs.mjx.models import FrameSensor, load_model
from pbrl.envs.mjx.starts import at_rest, random_joints
from pbrl.envs.mjx.tolerance import linear, quadratic, tolerance
from pbrl.envs.mjx.world import Physics, Start, World
from pbrl.envs.opengl import mujoco

STANDING = (0.6, 2.0)  # metres of the torso above the foot
HOP_SPEED = 2.0  # metres per second
TORSO = FrameSensor("framepos", "torso", is_inertial=True)
FOOT = FrameSensor("framepos", "foot", is_inertial=True)


@dataclass(frozen=True, kw_only=True)
class Hopper:
    """Stand or hop: `dm_control.suite.hopper`.

    Attributes:
        is_hopping: whether to hop forward rather than to stand still.
        num_substeps: physics steps per action.
        goal_dim: numbers of a goal.
    """

    is_hopping: bool
    num_substeps: int = 4
    goal_dim: int = 0

    def build_model(self) -> mujoco.MjModel:
        """Return the model, which also says where torso and foot are."""
        return load_model("hopper", [TORSO, FOOT])

    def start(self, physics: Physics, num_envs: int, generator: torch.Generator) -> Start:
        """Draw every joint and the direction of the torso."""
        return at_rest(physics, random_joints(physics, num_envs, generator, free_hinges=True))

    def observe(self, world: World) -> Float[Tensor, "env obs"]:
        """Return positions but the horizontal one, velocities, touch of toe and heel."""
        touch = torch.cat([world.sensor("touch_toe"), world.sensor("touch_heel")], dim=1)
        state = world.state
        return torch.cat([state.qpos[:, 1:], state.qvel, touch.log1p()], dim=1)

    def reward(self, world: World) -> Float[Tensor, " env"]:
        """Return how well it stands, times its speed or its thrift, in [0, 1]."""
        height = world.sensor(TORSO.name)[:, 2] - world.sensor(FOOT.name)[:, 2]
        standing = tolerance(height, STANDING)
        if not self.is_hopping:
            thrift = tolerance(
                world.controls, margin=1.0, falloff=quadratic, value_at_margin=0.0
            ).mean(1)
            return standing * (thrift + 4) / 5
        return standing * tolerance(
            world.sensor("torso_subtreelinvel")[:, 0],
            (HOP_SPEED, float("inf")),
            margin=HOP_SPEED / 2,
            falloff=linear,
            value_at_margin=0.5,
        )

    def terminated(self, world: World) -> None:
        """Return None: no state is terminal."""
        del world
