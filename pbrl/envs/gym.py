"""Environments of Gymnasium: registered ids, and constructors of a user's own."""

import inspect
import os
import platform
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.envs.registration import load_env_creator
from gymnasium.wrappers import FlattenObservation, TimeLimit
from jaxtyping import UInt8

from pbrl.envs.opengl import WITHOUT_VIDEO, RenderingUnavailable, mujoco
from pbrl.envs.own_modules import import_own, naming_what_fails
from pbrl.envs.rendering import Camera, Scene, find_camera
from pbrl.envs.states import (
    State,
    find_wrapper,
    read_attributes,
    read_physics,
    write_attributes,
    write_physics,
)
from pbrl.lookup import suggest

PACKAGES = ("gymnasium", "mujoco", "numpy")
CLASSIC_CONTROL = ("MountainCarContinuous-v0", "Pendulum-v1")
MUJOCO_TASKS_VERSION = 5

GymEnv = gymnasium.Env[Any, Any]


def list_tasks() -> tuple[str, ...]:
    """Return the continuous tasks of Gymnasium itself: classic control and MuJoCo v5."""
    mujoco_tasks = [
        spec.id
        for spec in gymnasium.registry.values()
        if spec.version == MUJOCO_TASKS_VERSION
        and str(spec.entry_point).startswith("gymnasium.envs.mujoco")
    ]
    return tuple(sorted([*CLASSIC_CONTROL, *mujoco_tasks]))


def has_task(task: str) -> bool:
    """Say whether an id is registered; for `module:id` the module is imported first.

    Raises:
        ValueError: if there is no such module, or it registers no such id.
        ImportError: if importing it fails.
    """
    module, colon, name = task.rpartition(":")
    if colon:
        imported = import_own(module, f"gym/{task}")
        if name not in gymnasium.registry:
            raise ValueError(
                f"unknown environment 'gym/{task}': {imported.__file__ or module} registers no "
                f"{name!r}{suggest(name, gymnasium.registry)}"
            )
    return name in gymnasium.registry


def make_lane(
    task: str | Callable[[], GymEnv],
    *,
    seed: int,
    max_episode_steps: int | None = None,
    camera: Camera | None = None,
    **kwargs: Any,
) -> "GymLane":
    """Return one sub-environment.

    Args:
        task: registered id, or a function that returns an environment.
        seed: not used here; the first reset gets it.
        max_episode_steps: steps until truncation; by default as registered.
        camera: name or number of a MuJoCo camera; by default the one called "track", else the
            environment's own view.
        **kwargs: given to `gymnasium.make`; a function takes none.

    Raises:
        ValueError: if the task does not know an option, or is a function and there are further
            options.
        ImportError: if importing what a registered id names as its entry point fails.
    """
    del seed
    if not isinstance(task, str):
        if kwargs:
            raise ValueError(f"a constructor takes no options, got {sorted(kwargs)}: bind them")
        env = task()
        if max_episode_steps is not None:
            env = TimeLimit(env, max_episode_steps)
        return GymLane(env, camera)
    spec = gymnasium.registry[task.rpartition(":")[2]]
    if _can_render(_creator(task, spec.entry_point)):
        kwargs.setdefault("render_mode", "rgb_array")  # costs nothing until render() is called
    try:
        env = gymnasium.make(
            task, max_episode_steps=max_episode_steps, disable_env_checker=True, **kwargs
        )
    except TypeError as error:
        unknown = [name for name in kwargs if f"unexpected keyword argument '{name}'" in str(error)]
        if not unknown:
            raise
        raise ValueError(f"gym/{task} has no option {unknown[0]}") from error
    return GymLane(env, camera, key=task)


def _creator(task: str, entry_point: Any) -> Any:
    """Return what makes the environment; one given by name is imported."""
    if not isinstance(entry_point, str):
        return entry_point
    with naming_what_fails(entry_point.partition(":")[0], f"gym/{task}"):
        return load_env_creator(entry_point)


def _can_render(creator: Any) -> bool:
    """Return whether it says that it gives frames, and takes the mode in which it does."""
    if "rgb_array" not in getattr(creator, "metadata", {}).get("render_modes", ()):
        return False
    parameters = inspect.signature(creator).parameters.values()
    return any(one.name == "render_mode" or one.kind is one.VAR_KEYWORD for one in parameters)


def _without_a_display() -> None:
    """Let pygame draw into memory alone; looking for a display, it would complain of none."""
    if platform.system() == "Linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


class GymLane:
    """A Gymnasium environment as one sub-environment; its observation is flattened.

    Args:
        env: the environment.
        camera: see `make_lane`.
        key: equal for environments whose models have the same textures and meshes.
    """

    reward_version = None
    goal_visible = None

    def __init__(self, env: GymEnv, camera: Camera | None = None, key: str | None = None) -> None:
        space = env.observation_space
        if not (isinstance(space, spaces.Box) and len(space.shape) == 1):
            env = FlattenObservation(env)
        self.env = env
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self.step = env.step
        self._time_limit = find_wrapper(env, TimeLimit)
        self.max_episode_steps: int | None = None
        if self._time_limit is not None:
            self.max_episode_steps = self._time_limit._max_episode_steps
        self._key = id(self) if key is None else key
        self._camera = self._find_camera(camera)

    def reset(self, seed: int | None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        return self.env.reset(seed=seed)

    def scene(self) -> Scene | None:
        """Return what to draw, or None if the environment is not a MuJoCo one."""
        simulator = self.env.unwrapped
        if not isinstance(simulator, MujocoEnv):
            return None
        return Scene(simulator.model, simulator.data, self._camera, self._key)

    def _find_camera(self, camera: Camera | None) -> int | dict[str, Any]:
        simulator = self.env.unwrapped
        if not isinstance(simulator, MujocoEnv):
            if camera is not None:
                raise ValueError(f"{simulator} has no cameras, got camera {camera!r}")
            return {}
        if camera is not None:
            return find_camera(simulator.model, camera)
        track = mujoco.mj_name2id(simulator.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")
        return track if track >= 0 else simulator.mujoco_renderer.default_cam_config or {}

    def render(self) -> UInt8[np.ndarray, "height width 3"]:
        """Return the environment's own frame.

        Raises:
            RenderingUnavailable: if it gives none.
        """
        _without_a_display()
        try:
            frame = self.env.render()
        except gymnasium.error.DependencyNotInstalled as error:
            raise RenderingUnavailable(
                f"{self.env} cannot render: {error}. {WITHOUT_VIDEO}"
            ) from error
        except NotImplementedError as error:
            raise RenderingUnavailable(
                f"{self.env} has no method render: write one that returns an array [height, width, "
                f"3] of uint8, and name 'rgb_array' in metadata['render_modes']. {WITHOUT_VIDEO}"
            ) from error
        if not isinstance(frame, np.ndarray):
            raise RenderingUnavailable(
                f"{self.env} returns no frame: construct it with render_mode='rgb_array'. "
                + WITHOUT_VIDEO
            )
        return frame

    def get_state(self) -> State:
        """Return the simulator's state."""
        simulator = self._simulator()
        state = read_attributes(simulator)
        if isinstance(simulator, MujocoEnv):
            state |= read_physics(simulator.model, simulator.data)
        if self._time_limit is not None:
            state["elapsed_steps"] = np.array(self._time_limit._elapsed_steps)
        return state

    def set_state(self, state: State) -> None:
        """Go to a state of `get_state`."""
        simulator = self._simulator()
        write_attributes(simulator, state)
        if isinstance(simulator, MujocoEnv):
            write_physics(simulator.model, simulator.data, state)
        if self._time_limit is not None:
            self._time_limit._elapsed_steps = int(state["elapsed_steps"])

    def _simulator(self) -> GymEnv:
        simulator = self.env.unwrapped
        is_classic = type(simulator).__module__.startswith("gymnasium.envs.classic_control")
        if not (is_classic or isinstance(simulator, MujocoEnv)):
            raise NotImplementedError(
                f"the state of {simulator} cannot be read: only MuJoCo and classic-control "
                "environments have simulator states"
            )
        return simulator

    def close(self) -> None:
        """Close the environment."""
        self.env.close()
