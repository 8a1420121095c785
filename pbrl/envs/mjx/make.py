"""`make`: a task in as many worlds as wanted, on the back end that suits the device."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.vector import VectorEnv

from pbrl.devices import find_device
from pbrl.envs.mjx.arrays import ArrayVectorEnv
from pbrl.envs.mjx.frames import WorldRenderer
from pbrl.envs.mjx.jax_physics import HOW_TO_INSTALL, JaxPhysics, is_installed
from pbrl.envs.mjx.rollout import RolloutPhysics
from pbrl.envs.mjx.tasks import EPISODE_STEPS, TASKS
from pbrl.envs.mjx.vector import BatchedVectorEnv
from pbrl.envs.mjx.world import Physics, Task
from pbrl.envs.opengl import mujoco
from pbrl.envs.record import EnvRecord, installed_versions
from pbrl.envs.rendering import Camera


def make(
    task: str | Task,
    num_envs: int,
    *,
    seed: int | Sequence[int] = 0,
    device: torch.device | str | None = None,
    backend: str = "auto",
    frame_size: tuple[int, int] = (240, 320),
    **options: Any,
) -> VectorEnv[Any, Any, Any]:
    """Return a task in `num_envs` worlds; what `pbrl.envs.make` calls.

    Args:
        task: id with its source, `mjx/walker-walk`, or a task of one's own.
        num_envs: number of worlds.
        seed: of all worlds together; used by the first `reset`.
        device: None for arrays, otherwise tensors on that device.
        backend: "rollout" for the threads of the CPU, "mjx" for jax on `device`, "auto" for "mjx"
            on a CUDA device where it is installed, otherwise "rollout".
        frame_size: height and width in pixels of what `render` returns.
        **options: `max_episode_steps` (by default 1000), `camera`, and `num_threads` of "rollout".

    Raises:
        ValueError: if an option is unknown or the device is not there.
        ImportError: if backend "mjx" is not installed, naming the extra.
        WorldsDoNotFit: if the device has too little memory for the worlds.
    """
    name = task if isinstance(task, str) else type(task).__qualname__
    known = {"max_episode_steps", "camera", "num_threads"}
    if unknown := sorted(options.keys() - known):
        raise ValueError(f"{name} has no option {', '.join(unknown)}; it has {sorted(known)}")
    if isinstance(task, str):
        task = TASKS[task.partition("/")[2]]
    place = find_device(device)
    model = task.build_model()
    camera: Camera | None = options.get("camera")
    renderer = WorldRenderer(model, frame_size, camera)
    physics = choose_physics(
        model, num_envs, backend=backend, device=place, num_threads=options.get("num_threads")
    )
    record = EnvRecord(
        id=name,
        backend=physics.name,
        num_envs=num_envs,
        max_episode_steps=options.get("max_episode_steps") or EPISODE_STEPS,
        options={key: repr(value) for key, value in options.items()},
        versions=installed_versions(physics.packages),
    )
    env = BatchedVectorEnv(task, physics, record=record, seed=seed, device=place, renderer=renderer)
    return ArrayVectorEnv(env) if device is None else env


def choose_physics(
    model: mujoco.MjModel,
    num_envs: int,
    *,
    backend: str,
    device: torch.device,
    num_threads: int | None,
) -> Physics:
    """Return the back end for a device, see `make`."""
    if backend == "auto":
        backend = "mjx" if device.type == "cuda" and is_installed() else "rollout"
        if device.type == "cuda" and backend == "rollout":
            warnings.warn(
                "physics runs on the threads of the CPU, because jax and mujoco-mjx are not "
                f"installed: {HOW_TO_INSTALL} brings them for the GPU",
                stacklevel=4,
            )
    if backend == "rollout":
        return RolloutPhysics(model, num_threads)
    if num_threads is not None:
        raise ValueError("num_threads is an option of backend='rollout', MJX has no threads")
    return JaxPhysics(model, num_envs, device)
