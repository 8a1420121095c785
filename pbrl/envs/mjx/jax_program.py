"""The program of jax that steps all worlds: written with MJX, compiled once for equal worlds."""

import copy
import hashlib
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from pbrl.envs.mjx.world import reads_forces
from pbrl.envs.opengl import mujoco

# Some GPUs multiply float32 matrices in TF32 by default, with ten bits: too few for contacts.
PRECISION = "highest"


class JaxProgram:
    """A compiled program.

    Args:
        run: takes the parts of a state, controls and the number of physics steps; returns parts.
        num_bytes: that its inputs, outputs and intermediate results take together.
    """

    def __init__(self, run: Callable[..., Any], num_bytes: int) -> None:
        self.run = run
        self.num_bytes = num_bytes


_Key = tuple[bytes, int, Any]
_programs: WeakValueDictionary[_Key, JaxProgram] = WeakValueDictionary()


def program_for(
    jax: Any, mjx: Any, model: mujoco.MjModel, num_envs: int, device: Any
) -> JaxProgram:
    """Return the program for so many worlds of a model.

    Environments of equal worlds on one device, such as those of many seeds, share one; it is
    forgotten with the last of them.

    Args:
        jax: the module.
        mjx: the module.
        model: of every world.
        num_envs: number of worlds.
        device: jax's own.

    Raises:
        ValueError: if MJX lacks a part of the model.
    """
    key = (_content(model), num_envs, device)
    program = _programs.get(key)
    if program is None:
        program = _programs[key] = _compile(jax, mjx, model, num_envs, device)
    return program


def _content(model: mujoco.MjModel) -> bytes:
    """Return a digest of everything that is in a model."""
    numbers = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, numbers)
    return hashlib.sha256(numbers.tobytes()).digest()


def _compile(jax: Any, mjx: Any, model: mujoco.MjModel, num_envs: int, device: Any) -> JaxProgram:
    try:
        with jax.default_device(device):
            run = lowered(jax, mjx, model, num_envs, device).compile()
    except NotImplementedError as error:
        raise ValueError(
            f"MJX lacks a part of this model ({error}); backend='rollout' has all of MuJoCo"
        ) from error
    usage = run.memory_analysis()
    needed = usage.temp_size_in_bytes + usage.argument_size_in_bytes + usage.output_size_in_bytes
    return JaxProgram(run, needed)


def lowered(jax: Any, mjx: Any, model: mujoco.MjModel, num_envs: int, device: Any) -> Any:
    """Return the program before it is compiled; see `program_for`."""
    sharding = jax.sharding.SingleDeviceSharding(device)
    sizes = (model.nq, model.nv, model.na, model.nv, model.nsensordata, model.nu)
    *parts, controls = [
        jax.ShapeDtypeStruct((num_envs, size), "float32", sharding=sharding) for size in sizes
    ]
    count = jax.ShapeDtypeStruct((), "int32", sharding=sharding)
    with jax.default_matmul_precision(PRECISION):
        return jax.jit(_advance(jax, mjx, model)).lower(tuple(parts), controls, count)


def _advance(jax: Any, mjx: Any, model: mujoco.MjModel) -> Any:
    """Return the function that is compiled: some physics steps, then fresh sensors.

    `mjx.step` of MJX 3.3.0 reads the force sensors before it solves for the forces, so that
    they are those of the step before. Here they are read in between, and the other sensors
    once, at the end.
    """
    plain = _for_mjx(model)
    whole, template = mjx.put_model(plain), mjx.make_data(plain)
    plain.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
    senseless = mjx.put_model(plain)
    is_euler = plain.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER
    integrate = mjx.euler if is_euler else mjx.rungekutta4
    has_force_sensors = bool(reads_forces(model).any())

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
            data = mjx.sensor_acc(whole, data)
        return parts_of(integrate(senseless, data))

    def sense(parts: Any, controls: Any) -> Any:
        data = data_of(parts, controls)
        for refresh in (mjx.kinematics, mjx.com_pos, mjx.com_vel, mjx.subtree_vel):
            data = refresh(whole, data)
        return parts_of(mjx.sensor_vel(whole, mjx.sensor_pos(whole, data)))

    def advance(parts: Any, controls: Any, num_steps: Any) -> Any:
        all_substep = jax.vmap(substep)
        parts = jax.lax.fori_loop(
            0, num_steps, lambda _, parts: all_substep(parts, controls), parts
        )
        return jax.vmap(sense)(parts, controls)

    return advance


def _for_mjx(model: mujoco.MjModel) -> mujoco.MjModel:
    """Return a copy without the flags that MJX does not know and that change no motion."""
    plain = copy.copy(model)
    plain.opt.enableflags = 0  # the cart-pole has its energy computed
    plain.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)  # MJX never resets
    return plain
