"""Batched physics on an accelerator, through MJX, joined to torch by DLPack."""

import copy
import importlib
import importlib.util
import os
from typing import Any

import torch
import torch.utils.dlpack
from jaxtyping import Float
from torch import Tensor

from pbrl.envs.mjx.memory import WorldsDoNotFit, check_memory, free_memory
from pbrl.envs.mjx.world import PhysicsState, reads_forces
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
            "CUDA 12; backend='rollout' steps on the threads of the CPU"
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
        with self._jax.default_device(self._jax_device):
            self._program = self._compile()

    def _compile(self) -> Any:
        """Return the compiled program, after making sure that it fits."""
        jax = self._jax
        model = self.model
        sizes = (model.nq, model.nv, model.na, model.nv, model.nsensordata, model.nu)
        inputs = [
            jax.ShapeDtypeStruct((self._num_envs, size), "float32", sharding=self._sharding())
            for size in sizes
        ]
        count = jax.ShapeDtypeStruct((), "int32", sharding=self._sharding())
        try:
            program = (
                jax.jit(self._advance()).lower(tuple(inputs[:-1]), inputs[-1], count).compile()
            )
        except NotImplementedError as error:
            raise ValueError(
                f"MJX lacks a part of this model ({error}); backend='rollout' has all of MuJoCo"
            ) from error
        usage = program.memory_analysis()
        needed = usage.temp_size_in_bytes + usage.argument_size_in_bytes
        check_memory(
            needed + usage.output_size_in_bytes,
            free_memory(self.device),
            num_envs=self._num_envs,
            device=self.device,
        )
        return program

    def _sharding(self) -> Any:
        return self._jax.sharding.SingleDeviceSharding(self._jax_device)

    def _advance(self) -> Any:
        """Return the function that is compiled: some physics steps, then fresh sensors.

        `mjx.step` of MJX 3.3.0 reads the force sensors before it solves for the forces, so that
        they are those of the step before. Here they are read in between, and the other sensors
        once, at the end.
        """
        jax, mjx = self._jax, self._mjx
        plain = _for_mjx(self.model)
        model, template = mjx.put_model(plain), mjx.make_data(plain)
        plain.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
        senseless = mjx.put_model(plain)
        is_euler = plain.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER
        integrate = mjx.euler if is_euler else mjx.rungekutta4
        has_force_sensors = bool(reads_forces(self.model).any())

        def data_of(parts: Any, controls: Any) -> Any:
            qpos, qvel, activations, warm_start, sensors = parts
            return template.replace(
                qpos=qpos,
                qvel=qvel,
                act=activations,
                qacc_warmstart=warm_start,
                sensordata=sensors,
                ctrl=controls,
            )

        def parts_of(data: Any) -> Any:
            return (data.qpos, data.qvel, data.act, data.qacc_warmstart, data.sensordata)

        def substep(parts: Any, controls: Any) -> Any:
            data = mjx.forward(senseless, data_of(parts, controls))
            if has_force_sensors:
                data = mjx.sensor_acc(model, data)
            return parts_of(integrate(senseless, data))

        def sense(parts: Any, controls: Any) -> Any:
            data = data_of(parts, controls)
            for refresh in (mjx.kinematics, mjx.com_pos, mjx.com_vel, mjx.subtree_vel):
                data = refresh(model, data)
            return parts_of(mjx.sensor_vel(model, mjx.sensor_pos(model, data)))

        def advance(parts: Any, controls: Any, num_steps: Any) -> Any:
            all_substep = jax.vmap(substep)
            parts = jax.lax.fori_loop(
                0, num_steps, lambda _, parts: all_substep(parts, controls), parts
            )
            return jax.vmap(sense)(parts, controls)

        return advance

    def step(
        self, state: PhysicsState, controls: Float[Tensor, "env act"], num_steps: int
    ) -> PhysicsState:
        """Return the state after a number of physics steps, see `Physics`."""
        parts = (state.qpos, state.qvel, state.activations, state.warm_start, state.sensors)
        inputs = tuple(map(self._to_jax, parts))
        count = self._jax.device_put(self._jax.numpy.int32(num_steps), self._jax_device)
        try:
            outputs = self._program(inputs, self._to_jax(controls), count)
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

    def _to_jax(self, tensor: Float[Tensor, "env n"]) -> Any:
        if tensor.numel() == 0:  # there is nothing to share, and DLPack has no place for it
            zeros = self._jax.numpy.zeros(tuple(tensor.shape), "float32")
            return self._jax.device_put(zeros, self._jax_device)
        return self._jax.dlpack.from_dlpack(tensor.detach().contiguous())

    def _to_torch(self, array: Any) -> Float[Tensor, "env n"]:
        if array.size == 0:
            return torch.zeros(array.shape, dtype=self.dtype, device=self.device)
        return torch.utils.dlpack.from_dlpack(array)

    def close(self) -> None:
        """Forget the compiled program."""
        del self._program


def _for_mjx(model: mujoco.MjModel) -> mujoco.MjModel:
    """Return a copy without the flags that MJX does not know and that change no motion."""
    plain = copy.copy(model)
    plain.opt.enableflags = 0  # the cart-pole has its energy computed
    plain.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)  # MJX never resets
    return plain
