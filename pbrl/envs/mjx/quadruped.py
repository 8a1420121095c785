"""The quadruped of the control suite."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.envs.dmc import load_suite
from pbrl.envs.mjx.models import FrameSensor, compile_model, suite_module
from pbrl.envs.mjx.starts import at_rest, normal, reference_pose
from pbrl.envs.mjx.tolerance import linear, tolerance
from pbrl.envs.mjx.world import Physics, Start, World
from pbrl.envs.opengl import mujoco

EPISODE_SECONDS = 20.0
LIFT = 0.01  # metres by which dm_control raises the body until nothing touches
TORSO_UP = FrameSensor("framezaxis", "torso")
LEGS = ("front_left", "front_right", "back_right", "back_left")
STRAINS = tuple(f"{kind}_toe_{leg}" for kind in ("force", "torque") for leg in LEGS)
Geom = mujoco.mjtGeom


@dataclass(frozen=True, kw_only=True)
class Quadruped:
    """Walk or run: `dm_control.suite.quadruped`.

    Attributes:
        speed: wanted speed in metres per second.
        num_substeps: physics steps per action.
        goal_dim: numbers of a goal.
    """

    speed: float
    num_substeps: int = 4
    goal_dim: int = 0

    def build_model(self) -> mujoco.MjModel:
        """Return the model on a floor as large as an episode needs."""
        xml = suite_module("quadruped").make_model(floor_size=EPISODE_SECONDS * self.speed)
        return compile_model(xml, load_suite().common.ASSETS, [TORSO_UP])

    def start(self, physics: Physics, num_envs: int, generator: torch.Generator) -> Start:
        """Turn the body at random and put it just above the floor."""
        turn = normal((num_envs, 4), generator)
        turn = turn / turn.norm(dim=1, keepdim=True)
        qpos = reference_pose(physics, num_envs).double().clone()
        qpos[:, :2] = 0.0
        qpos[:, 2] = free_height(physics.model, turn)
        qpos[:, 3:7] = turn
        return at_rest(physics, qpos)

    def observe(self, world: World) -> Float[Tensor, "env obs"]:
        """Return joints, velocity and uprightness of the torso, inertial and force sensors."""
        state = world.state
        strains = torch.cat([world.sensor(name) for name in STRAINS], dim=1)
        return torch.cat(
            [
                state.qpos[:, 7:],
                state.qvel[:, 6:],
                state.activations,
                world.sensor("velocimeter"),
                world.sensor(TORSO_UP.name)[:, 2:],
                world.sensor("imu_accel"),
                world.sensor("imu_gyro"),
                strains.arcsinh(),
            ],
            dim=1,
        )

    def reward(self, world: World) -> Float[Tensor, " env"]:
        """Return uprightness times speed, in [0, 1]."""
        upright = (1 + world.sensor(TORSO_UP.name)[:, 2]) / 2
        moving = tolerance(
            world.sensor("velocimeter")[:, 0],
            (self.speed, float("inf")),
            margin=self.speed,
            falloff=linear,
            value_at_margin=0.5,
        )
        return upright * moving

    def terminated(self, world: World) -> None:
        """Return None: no state is terminal."""
        del world


def free_height(model: mujoco.MjModel, turn: Float[Tensor, "env 4"]) -> Float[Tensor, " env"]:
    """Return the least multiple of 1 cm at which a turned body in its reference pose floats.

    dm_control looks for it by trial; here it follows from the lowest point of every geom.

    Args:
        model: with a free joint and a floor at height 0.
        turn: unit quaternions of the root.
    """
    data = mujoco.MjData(model)
    data.qpos[:7] = (0, 0, 0, 1, 0, 0, 0)
    mujoco.mj_kinematics(model, data)
    down = _world_down(turn)  # in the frame of the body, [env, 3]
    depths = []
    for geom in np.flatnonzero(model.geom_bodyid):
        centre = torch.as_tensor(data.geom_xpos[geom]).to(turn)
        axes = torch.as_tensor(data.geom_xmat[geom].reshape(3, 3)).to(turn)
        depths.append(down @ centre + _reach(model, int(geom), down @ axes))
    return LIFT * torch.stack(depths).amax(0).div(LIFT).ceil().clamp(0.0)


def _world_down(turn: Float[Tensor, "env 4"]) -> Float[Tensor, "env 3"]:
    """Return where down is, seen from a body turned by unit quaternions."""
    w, x, y, z = turn.unbind(1)
    return -torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], dim=1)


def _reach(model: mujoco.MjModel, geom: int, down: Float[Tensor, "env 3"]) -> Float[Tensor, " env"]:
    """Return how far a geom extends from its centre in a direction of its own frame."""
    radius, half_length, _ = (float(size) for size in model.geom_size[geom])
    along = down[:, 2].abs()
    match Geom(model.geom_type[geom]):
        case Geom.mjGEOM_SPHERE:
            return torch.full_like(along, radius)
        case Geom.mjGEOM_CAPSULE:
            return radius + half_length * along
        case Geom.mjGEOM_CYLINDER:
            return radius * _length(down[:, :2]) + half_length * along
        case Geom.mjGEOM_ELLIPSOID:
            sizes = torch.as_tensor(model.geom_size[geom]).to(down)
            return _length(down * sizes)
        case kind:
            raise ValueError(f"geom {geom} is a {kind.name}, whose lowest point is not known here")


def _length(vectors: Float[Tensor, "env n"]) -> Float[Tensor, " env"]:
    return vectors.square().sum(1).sqrt()
