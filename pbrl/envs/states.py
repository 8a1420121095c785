"""Simulator states as dictionaries of arrays: read, written, stored without pickle."""

from typing import Any

import numpy as np

from pbrl.envs.opengl import mujoco

State = dict[str, np.ndarray]

# Parts of a model that tasks of the three sources move when an episode starts.
MODEL_FIELDS = (
    "body_pos",
    "body_quat",
    "geom_pos",
    "geom_size",
    "site_pos",
    "site_size",
    "light_pos",
    "wrap_prm",
    "jnt_stiffness",
    "dof_damping",
    "hfield_data",
)
# Derived quantities that tasks and the renderer read. After a step they are those of the last
# physics sub-step in Gymnasium, so that computing them anew would change the next reward.
DERIVED_FIELDS = (
    "xpos",
    "xquat",
    "xmat",
    "xipos",
    "ximat",
    "geom_xpos",
    "geom_xmat",
    "site_xpos",
    "site_xmat",
    "cam_xpos",
    "cam_xmat",
    "light_xpos",
    "light_xdir",
    "subtree_com",
    "cinert",
    "cvel",
    "cfrc_ext",
    "qfrc_actuator",
    "qfrc_constraint",
    "sensordata",
)
PHYSICS = int(mujoco.mjtState.mjSTATE_INTEGRATION)


def read_physics(model: mujoco.MjModel, data: mujoco.MjData) -> State:
    """Return all that the next physics step depends on, with the movable parts of the model."""
    physics = np.empty(mujoco.mj_stateSize(model, PHYSICS))
    mujoco.mj_getState(model, data, physics, PHYSICS)
    state = {f"model.{name}": getattr(model, name).copy() for name in MODEL_FIELDS}
    state |= {f"data.{name}": getattr(data, name).copy() for name in DERIVED_FIELDS}
    return {"physics": physics} | {name: value for name, value in state.items() if value.size}


def write_physics(model: mujoco.MjModel, data: mujoco.MjData, state: State) -> None:
    """Go to a state of `read_physics`.

    Raises:
        ValueError: if the state is of another model.
    """
    size = mujoco.mj_stateSize(model, PHYSICS)
    if state["physics"].shape != (size,):
        raise ValueError(
            f"the state has {state['physics'].size} physics numbers, this model {size}"
        )
    for name in MODEL_FIELDS:
        if f"model.{name}" in state:
            getattr(model, name)[:] = state[f"model.{name}"]
    mujoco.mj_setState(model, data, state["physics"], PHYSICS)
    mujoco.mj_forward(model, data)
    mujoco.mj_setState(model, data, state["physics"], PHYSICS)  # the warm start is another now
    for name in DERIVED_FIELDS:
        if f"data.{name}" in state:
            getattr(data, name)[:] = state[f"data.{name}"]


def read_attributes(source: object) -> State:
    """Return the attributes of an object that are numbers or numeric arrays.

    Arrays that show the memory of the simulator are left out: they follow it by themselves.
    """
    return {
        f"attribute.{name}": np.array(value)
        for name, value in vars(source).items()
        if isinstance(value, bool | int | float | np.number | np.bool_)
        or (isinstance(value, np.ndarray) and value.dtype != np.object_ and _is_own(value))
    }


def _is_own(array: np.ndarray) -> bool:
    """Say whether numpy, and not the simulator, holds an array's memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.base is None


def write_attributes(target: object, state: State) -> None:
    """Set the attributes of `read_attributes`."""
    for key, value in state.items():
        kind, _, name = key.partition(".")
        if kind == "attribute":
            setattr(target, name, value.copy() if value.ndim else value.item())


def find_wrapper(env: Any, kind: type) -> Any:
    """Return the outermost wrapper of a type around a Gymnasium environment, or None."""
    while env is not None:
        if isinstance(env, kind):
            return env
        env = getattr(env, "env", None)
    return None
