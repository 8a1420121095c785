"""Beginnings of episodes, as dm_control makes them, for all worlds at once."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.envs.mjx.world import Physics, PhysicsState, Start, reads_forces
from pbrl.envs.opengl import mujoco

ROTATES = int(mujoco.mjtJoint.mjJNT_HINGE)


def reference_pose(physics: Physics, num_envs: int) -> Float[Tensor, "env qpos"]:
    """Return the model's reference positions."""
    pose = torch.as_tensor(physics.model.qpos0, dtype=physics.dtype, device=physics.device)
    return pose.expand(num_envs, -1)


def at_rest(
    physics: Physics,
    qpos: Float[Tensor, "env qpos"],
    qvel: Float[Tensor, "env dof"] | None = None,
    goals: Float[Tensor, "env goal"] | None = None,
) -> Start:
    """Return the state at the given positions with all sensors up to date.

    dm_control reads the force sensors with the actuators switched off. Zero controls are the same
    for the models here: motors then give no force, and the quadruped starts where its servos are
    at ease.

    Args:
        physics: the back end.
        qpos: positions.
        qvel: velocities; zeros if not given.
        goals: of the task; empty if not given.
    """
    num_envs = len(qpos)
    model = physics.model

    def zeros(size: int) -> Tensor:
        return torch.zeros(num_envs, size, dtype=physics.dtype, device=physics.device)

    state = PhysicsState(
        qpos=qpos.to(physics.dtype).contiguous(),
        qvel=zeros(model.nv) if qvel is None else qvel.to(physics.dtype).contiguous(),
        activations=zeros(model.na),
        warm_start=zeros(model.nv),
        sensors=zeros(model.nsensordata),
    )
    is_force = reads_forces(model)
    if is_force.any():
        forces = physics.step(state, zeros(model.nu), 1).sensors
        sensors = torch.where(is_force.to(forces.device), forces, state.sensors)
        state = replace(state, sensors=sensors)
    state = physics.step(state, zeros(model.nu), 0)
    return Start(state=state, goals=zeros(0) if goals is None else goals.to(physics.dtype))


def normal(size: tuple[int, int], generator: torch.Generator) -> Float[Tensor, "env n"]:
    """Return standard normal numbers on the generator's device."""
    return torch.randn(size, generator=generator, dtype=torch.float64, device=generator.device)


def uniform(size: tuple[int, int], generator: torch.Generator) -> Float[Tensor, "env n"]:
    """Return numbers in [0, 1) on the generator's device."""
    return torch.rand(size, generator=generator, dtype=torch.float64, device=generator.device)


def random_joints(
    physics: Physics, num_envs: int, generator: torch.Generator, *, free_hinges: bool
) -> Float[Tensor, "env qpos"]:
    """Return positions with every limited joint drawn uniformly from its range.

    Args:
        physics: the back end; its model has hinges and slides only, one number each.
        num_envs: number of worlds.
        generator: draws on the physics' device.
        free_hinges: whether hinges without limits are drawn as well, from the whole circle
            (`randomize_limited_and_rotational_joints` of dm_control). All else stays at the
            reference.
    """
    model = physics.model
    lower = torch.as_tensor(model.qpos0).clone()
    upper = lower.clone()
    for joint in range(model.njnt):
        if model.jnt_limited[joint]:
            lower[joint], upper[joint] = map(float, model.jnt_range[joint])
        elif free_hinges and model.jnt_type[joint] == ROTATES:
            lower[joint], upper[joint] = -math.pi, math.pi
    share = uniform((num_envs, model.nq), generator)
    low = lower.to(share.device)
    return low + share * (upper - lower).to(share.device)
