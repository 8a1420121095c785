"""Simulator states as dictionaries of arrays: read, written, stored without pickle."""

from typing import Any

import mujoco
import numpy as np

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
    "hfield_data",
)
PHYSICS = int(mujoco.mjtState.mjSTATE_INTEGRATION)
WARM_START = int(mujoco.mjtState.mjSTATE_WARMSTART)


def read_physics(model: mujoco.MjModel, data: mujoco.MjData) -> State:
    """Return all that the next physics step depends on, with the movable parts of the model."""
    physics = np.empty(mujoco.mj_stateSize(model, PHYSICS))
    mujoco.mj_getState(model, data, physics, PHYSICS)
    state = {f"model.{name}": getattr(model, name).copy() for name in MODEL_FIELDS}
    state = {name: value for name, value in state.items() if value.size}
    return {"physics": physics, **state}


def write_physics(model: mujoco.MjModel, data: mujoco.MjData, state: State) -> None:
    """Go to a state of `read_physics` and bring all derived quantities up to date.

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
    warm_start = np.empty(mujoco.mj_stateSize(model, WARM_START))
    mujoco.mj_getState(model, data, warm_start, WARM_START)
    mujoco.mj_forward(model, data)
    mujoco.mj_setState(model, data, warm_start, WARM_START)  # mj_forward has written its own


def read_attributes(source: object) -> State:
    """Return the attributes of an object that are numbers or numeric arrays."""
    return {
        f"attribute.{name}": np.array(value)
        for name, value in vars(source).items()
        if isinstance(value, bool | int | float | np.number | np.bool_)
        or (isinstance(value, np.ndarray) and value.dtype != np.object_)
    }


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
