"""Batched physics on the threads of the CPU, through `mujoco.rollout`."""

import copy
import os

import numpy as np
import torch
from jaxtyping import Float, Float64
from mujoco import rollout
from torch import Tensor

from pbrl.envs.mjx.world import PhysicsState, reads_forces
from pbrl.envs.opengl import mujoco

Disable = mujoco.mjtDisableBit
# Without these a physics step does little more than find out where the bodies are.
FORCELESS = (
    Disable.mjDSBL_CONSTRAINT,
    Disable.mjDSBL_CONTACT,
    Disable.mjDSBL_ACTUATION,
    Disable.mjDSBL_PASSIVE,
    Disable.mjDSBL_GRAVITY,
)
FULL_STATE = int(mujoco.mjtState.mjSTATE_FULLPHYSICS)


class RolloutPhysics:
    """MuJoCo itself, in double precision, with the worlds shared out among threads.

    A physics step leaves sensors of positions and velocities as they were before it. They are
    brought up to date by one more step of a copy of the model without any forces, which costs
    little and whose motion is thrown away.

    Departure from dm_control: every control step begins the constraint solver from zero, because
    `mujoco.rollout` does not return where it ended. Both find the same forces to within the
    solver's tolerance.

    Args:
        model: of every world.
        num_threads: how many; by default one for each processor that this process may use, and no
            more than torch has, so that `OMP_NUM_THREADS=1` keeps runs side by side out of each
            other's way.
    """

    name = "rollout"
    packages: tuple[str, ...] = ("mujoco", "dm_control", "numpy", "torch")
    device = torch.device("cpu")
    dtype = torch.float64

    def __init__(self, model: mujoco.MjModel, num_threads: int | None = None) -> None:
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads must be at least 1, got {num_threads}")
        self.model = model
        num_threads = num_threads or min(num_processors(), torch.get_num_threads())
        self._forceless = _forceless(model)
        self._data = [mujoco.MjData(model) for _ in range(num_threads)]
        self._pool = rollout.Rollout(nthread=num_threads if num_threads > 1 else 0)
        self._is_force = reads_forces(model)
        self._ends = np.cumsum([1, model.nq, model.nv, model.na])
        self.num_threads = num_threads

    def step(
        self, state: PhysicsState, controls: Float[Tensor, "env act"], num_steps: int
    ) -> PhysicsState:
        """Return the state after a number of physics steps, see `Physics`."""
        full, sensors = self._full(state), state.sensors
        if num_steps:
            repeated = controls.numpy()[:, None].repeat(num_steps, axis=1)
            states, readings = self._pool.rollout(self.model, self._data, full, repeated)
            full = np.ascontiguousarray(states[:, -1])
            sensors = torch.from_numpy(readings[:, -1])
        if not self._is_force.all():
            _, readings = self._pool.rollout(self._forceless, self._data, full, nstep=1)
            present = torch.from_numpy(readings[:, 0])
            sensors = torch.where(self._is_force, sensors, present)
        _, qpos, qvel, activations = np.split(full, self._ends[:-1], axis=1)[:4]
        return PhysicsState(
            qpos=torch.from_numpy(qpos),
            qvel=torch.from_numpy(qvel),
            activations=torch.from_numpy(activations),
            warm_start=state.warm_start,
            sensors=sensors,
        )

    def _full(self, state: PhysicsState) -> Float64[np.ndarray, "env full"]:
        """Return time 0, positions, velocities and activations in MuJoCo's order."""
        parts = [state.qpos, state.qvel, state.activations]
        time = torch.zeros(len(state.qpos), 1, dtype=self.dtype)
        full: np.ndarray = torch.cat([time, *parts], dim=1).numpy()
        return full

    def close(self) -> None:
        """Stop the threads."""
        self._pool.close()


def _forceless(model: mujoco.MjModel) -> mujoco.MjModel:
    """Return a copy of a model in which nothing exerts a force."""
    forceless = copy.copy(model)
    for flag in FORCELESS:
        forceless.opt.disableflags |= int(flag)
    forceless.opt.integrator = mujoco.mjtIntegrator.mjINT_EULER
    return forceless


def num_processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
