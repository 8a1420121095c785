"""Tasks of Meta-World v3, with a new random goal in every episode.

`<task>-v3` is Meta-World's own protocol, `<task>-v3-cpl` that of `pbrl.envs.metaworld_cpl`.
"""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from pbrl.envs.metaworld_cpl import MAX_EPISODE_STEPS as CPL_EPISODE_STEPS
from pbrl.envs.metaworld_cpl import SUFFIX as CPL_SUFFIX
from pbrl.envs.metaworld_cpl import CPLLane
from pbrl.envs.opengl import RenderingUnavailable
from pbrl.envs.rendering import Camera, Scene, find_camera
from pbrl.envs.states import (
    State,
    read_attributes,
    read_physics,
    write_attributes,
    write_physics,
)

PACKAGES = ("metaworld", "gymnasium", "mujoco", "numpy")
REWARD_VERSIONS = ("v2", "v1")
DEFAULT_CAMERA = "corner2"


@functools.cache
def _tasks() -> dict[str, Any]:
    """Return task names and classes; the package is imported on first use."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS  # noqa: PLC0415

    return dict(sorted(ALL_V3_ENVIRONMENTS.items()))


def list_tasks() -> tuple[str, ...]:
    """Return the names of the 50 tasks, each of which also has a CPL variant."""
    return tuple(_tasks())


def has_task(task: str) -> bool:
    """Say whether there is such a task; `-cpl` after its name asks for CPL's protocol."""
    return task.removesuffix(CPL_SUFFIX) in _tasks()


def make_lane(
    task: str,
    *,
    seed: int,
    goal_visible: bool = False,
    reward_version: str = "v2",
    max_episode_steps: int | None = None,
    camera: Camera | None = None,
) -> "MetaWorldLane | CPLLane":
    """Return one sub-environment.

    Args:
        task: for instance `button-press-topdown-v3`, or `button-press-topdown-v3-cpl`.
        seed: not used here; the first reset gets it.
        goal_visible: whether the last three numbers of the observation are the goal's position,
            or zeros. Zeros are the default of Meta-World's classes and with it of B-Pref and
            PEBBLE. CPL's protocol always shows it.
        reward_version: "v2", the dense reward in [0, 10] of all preference papers, or "v1".
        max_episode_steps: steps until truncation; by default 500, in CPL's protocol 250.
        camera: name or number; by default "corner2".

    Raises:
        ValueError: if there is no such reward version.
    """
    del seed
    if reward_version not in REWARD_VERSIONS:
        raise ValueError(f"reward_version must be one of {REWARD_VERSIONS}, got {reward_version!r}")
    name = task.removesuffix(CPL_SUFFIX)
    is_cpl = name != task
    env = _tasks()[name](reward_function_version=reward_version)
    env._set_task_called = True  # a goal per episode instead of one from a fixed list of tasks
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True  # goals come from the environment's own generator
    if goal_visible or is_cpl:
        env._partially_observable = False
        del env.sawyer_observation_space  # cached with the goal hidden
        env.observation_space = env.sawyer_observation_space
    if max_episode_steps is None and is_cpl:
        max_episode_steps = CPL_EPISODE_STEPS
    if max_episode_steps is not None:
        env.max_path_length = max_episode_steps
    lane = MetaWorldLane(env, DEFAULT_CAMERA if camera is None else camera, key=name)
    return CPLLane(lane, env) if is_cpl else lane


class MetaWorldLane:
    """A Meta-World environment as one sub-environment.

    An episode never terminates, it is truncated; success does not end it. `info["success"]` says
    whether the task is solved in this very step.

    Args:
        env: the environment, with goals drawn at every reset.
        camera: see `make_lane`.
        key: equal for environments whose models have the same textures and meshes.
    """

    def __init__(self, env: Any, camera: Camera, key: str) -> None:
        self.env = env
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self.step = env.step
        self.max_episode_steps: int | None = env.max_path_length
        self.reward_version: str | None = env.reward_function_version
        self.goal_visible: bool | None = not env._partially_observable
        self._key = key
        self._camera = find_camera(env.model, camera)

    def reset(self, seed: int | None) -> tuple[Float64[np.ndarray, " obs"], dict[str, Any]]:
        """Start an episode with a new goal."""
        if seed is not None:
            self.env.seed(seed)
        observation, _ = self.env.reset()
        return observation, {}

    def scene(self) -> Scene:
        """Return what to draw."""
        return Scene(self.env.model, self.env.data, self._camera, self._key)

    def render(self) -> UInt8[np.ndarray, "height width 3"]:
        """Not used: the scene is drawn."""
        raise RenderingUnavailable(f"metaworld/{self._key} is drawn from its scene")

    def get_state(self) -> State:
        """Return the simulator's state, with the goal and what the reward function remembers."""
        return read_physics(self.env.model, self.env.data) | read_attributes(self.env)

    def set_state(self, state: State) -> None:
        """Go to a state of `get_state`."""
        write_attributes(self.env, state)
        write_physics(self.env.model, self.env.data, state)

    def close(self) -> None:
        """Release the simulation."""
        self.env.close()
