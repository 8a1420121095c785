"""Batched physics on an accelerator, through MJX, joined to torch by DLPack."""

import importlib
import importlib.util
import os
from typing import Any

import numpy as np
import torch
import torch.utils.dlpack
from jaxtyping import Float
from torch import Tensor

from pbrl.devices import free_memory
from pbrl.envs.mjx.jax_program import program_for
from pbrl.envs.mjx.memory import WorldsDoNotFit, check_memory
from pbrl.envs.mjx.world import PhysicsState
from pbrl.envs.opengl import mujoco

NEEDED = ("jax", "mujoco.mjx")
HOW_TO_INSTALL = "pip install 'pbrl[gpu]'"


def is_installed() -> bool:
    """Say whether the packages of the extra `gpu` are here."""
    return all(map(importlib.util.find_spec, NEEDED))


def import_jax() -> tuple[Any, Any]:
    """Return the modules `jax` and `mujoco.mjx`.

    jax would take three quarters of the GPU's memory at once; here it takes what it needs, because
    torch lives on the same GPU. `XLA_PYTHON_CLIENT_PREALLOCATE=true` asks for the other.

    Raises:
        ImportError: naming the extra to install.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        return importlib.import_module("jax"), importlib.import_module("mujoco.mjx")
    except ImportError as error:
        raise ImportError(
            f"backend 'mjx' needs jax and mujoco-mjx ({error}): {HOW_TO_INSTALL}"
        ) from error


def find_device(jax: Any, device: torch.device) -> Any:
    """Return jax's name of a torch device.

    Raises:
        ValueError: if jax does not see it, naming what to install or to choose.
    """
    kind = "gpu" if device.type == "cuda" else device.type
    try:
        devices = jax.devices(kind)
    except RuntimeError as error:
        raise ValueError(
            f"jax sees no device {device}, only {jax.devices()}: {HOW_TO_INSTALL} brings jax for "
            "CUDA 13; backend='rollout' steps on the threads of the CPU"
        ) from error
    index = device.index or 0
    if index >= len(devices):
        raise ValueError(f"jax sees no device {device}, only {devices}")
    return devices[index]


class JaxPhysics:
    """MuJoCo rewritten in jax, in single precision, all worlds in one program.

    Between steps a state is a few torch tensors; jax gets and returns them where they lie, without
    copies. The program is compiled here, for this number of worlds, and its memory is asked for
    before it first runs. Compiling takes a minute or more; with `JAX_COMPILATION_CACHE_DIR` set to
    a folder, jax keeps the result for the next time.

    Args:
        model: of every world.
        num_envs: number of worlds.
        device: where states live; a CUDA device, or the CPU, where MJX is slow.

    Raises:
        ImportError: if jax or MJX is not installed.
        ValueError: if jax does not see the device, or MJX lacks a part of the model.
        WorldsDoNotFit: if the device has too little memory.
    """

    name = "mjx"
    packages: tuple[str, ...] = (
        "mujoco",
        "mujoco-mjx",
        "jax",
        "jaxlib",
        "dm_control",
        "numpy",
        "torch",
    )
    dtype = torch.float32

    def __init__(self, model: mujoco.MjModel, num_envs: int, device: torch.device) -> None:
        self._jax, self._mjx = import_jax()
        self.model = model
        self.device = device
        self._num_envs = num_envs
        self._jax_device = find_device(self._jax, device)
        self._program = program_for(self._jax, self._mjx, model, num_envs, self._jax_device)
        check_memory(self._program.num_bytes, free_memory(device), num_envs=num_envs, device=device)
        # What every step needs and none changes; making it anew would wait for the host.
        self._counts: dict[int, Any] = {}
        self._empty_arrays: dict[tuple[int, ...], Any] = {}
        self._empty_tensors: dict[tuple[int, ...], Tensor] = {}

    def step(
        self, state: PhysicsState, controls: Float[Tensor, "env act"], num_steps: int
    ) -> PhysicsState:
        """Return the state after a number of physics steps, see `Physics`."""
        parts = (state.qpos, state.qvel, state.activations, state.warm_start, state.sensors)
        inputs = tuple(map(self._to_jax, parts))
        try:
            outputs = self._program.run(inputs, self._to_jax(controls), self._count(num_steps))
        except self._jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise WorldsDoNotFit(
                f"{self._num_envs} worlds do not fit into the memory of {self.device}: ask for a "
                "smaller num_envs"
            ) from error
        qpos, qvel, activations, warm_start, sensors = map(self._to_torch, outputs)
        return PhysicsState(
            qpos=qpos, qvel=qvel, activations=activations, warm_start=warm_start, sensors=sensors
        )

    def _count(self, num_steps: int) -> Any:
        if num_steps not in self._counts:
            self._counts[num_steps] = self._put(np.int32(num_steps))
        return self._counts[num_steps]

    def _put(self, value: Any) -> Any:
        """Return a value on the device, once it has arrived there."""
        return self._jax.device_put(value, self._jax_device).block_until_ready()

    def _to_jax(self, tensor: Float[Tensor, "env n"]) -> Any:
        if tensor.numel() == 0:  # there is nothing to share, and DLPack has no place for it
            shape = tuple(tensor.shape)
            if shape not in self._empty_arrays:
                self._empty_arrays[shape] = self._put(np.zeros(shape, np.float32))
            return self._empty_arrays[shape]
        return self._jax.dlpack.from_dlpack(tensor.detach().contiguous())

    def _to_torch(self, array: Any) -> Float[Tensor, "env n"]:
        if array.size == 0:
            if array.shape not in self._empty_tensors:
                empty = torch.zeros(array.shape, dtype=self.dtype, device=self.device)
                self._empty_tensors[array.shape] = empty
            return self._empty_tensors[array.shape]
        return torch.utils.dlpack.from_dlpack(array)

    def close(self) -> None:
        """Forget the compiled program, unless other environments use it."""
        del self._program
