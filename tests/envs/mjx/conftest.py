"""The same state in the suite and in a batched world."""

import numpy as np
import pytest


def state_of(suite_env, like):
    """Return the state of a dm_control environment in the form of `BatchedVectorEnv.get_state`."""
    physics = suite_env.physics
    state = {
        **like,
        "qpos": physics.data.qpos.copy(),
        "qvel": physics.data.qvel.copy(),
        "activations": physics.data.act.copy(),
        "elapsed_steps": np.array(0),
    }
    if like["goals"].size:
        state["goals"] = physics.named.model.geom_pos["target"][:2].copy()
    return state


@pytest.fixture
def copy_states():
    """Return a function that brings batched worlds into the states of the suite's."""

    def copy(suite, batched):
        for index, lane in enumerate(suite.lanes):
            batched.set_state(index, state_of(lane.env, batched.get_state(index)))

    return copy
