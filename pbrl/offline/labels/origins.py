"""Which dataset a label file was made for, and where that dataset comes from."""

import re

from pbrl.offline.reference_scores import D4RL_DATASETS, d4rl_name

_D4RL = "http://rail.eecs.berkeley.edu/datasets/offline_rl"
_D4RL_FOLDERS = {
    r"(halfcheetah|hopper|walker2d|ant)-.*-v2": "gym_mujoco_v2",
    r"(pen|hammer|door|relocate)-.*-v1": "hand_dapg_v1",
    r"antmaze-.*-v2": "ant_maze_v2",
    r"kitchen-.*-v0": "kitchen",
}
_ROBOMIMIC = re.compile(r"(lift|can|square)-(ph|mh)")
_UNI_RLHF = re.compile(r"(boxing|breakout|enduro|pong|qbert)-medium-v0|cruise|cutin|left-c")


def canonical(name: str) -> str:
    """Return a dataset's name as this module compares it."""
    return d4rl_name(name) or name.lower().replace("_", "-")


def origin(name: str) -> str | None:
    """Return which file holds a dataset and where it is published; None if nobody knows here."""
    name = canonical(name)
    if name in D4RL_DATASETS:
        folders = [place for kind, place in _D4RL_FOLDERS.items() if re.fullmatch(kind, name)]
        path = "/".join([*folders, f"{D4RL_DATASETS[name].file}.hdf5"])
        return f"{D4RL_DATASETS[name].file}.hdf5 of D4RL, from {_D4RL}/{path}"
    if match := _ROBOMIMIC.fullmatch(name):
        return f"low_dim.hdf5 of robomimic v0.1, task {match[1]}, demonstrations {match[2]}"
    if _UNI_RLHF.fullmatch(name):
        return "the raw dataset that Uni-RLHF publishes beside its labels"
    return None
