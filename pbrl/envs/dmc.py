"""Tasks of the DeepMind Control Suite, stepped without further wrappers."""

import functools
import warnings
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float64, UInt8

from pbrl.envs.checks import EnvironmentFault
from pbrl.envs.opengl import RenderingUnavailable
from pbrl.envs.rendering import Camera, Scene, find_camera
from pbrl.envs.states import (
    State,
    read_attributes,
    read_physics,
    write_attributes,
    write_physics,
)

PACKAGES = ("dm_control", "mujoco", "numpy")
LIMIT_OF_ENDLESS_TASKS = 1000
UNBOUNDED = 1e9  # dm_control gives actuators without limits the bounds -1e10 and 1e10


@functools.cache
def load_suite() -> Any:
    """Return `dm_control.suite`, imported on first use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # GLFW complains when there is no display
        from dm_control import suite  # noqa: PLC0415
    return suite


@functools.cache
def _quadruped_physics() -> type:
    """Return the physics of the quadruped without what stops it on some machines."""

    class QuadrupedPhysics(load_suite().quadruped.Physics):  # type: ignore[misc]
        """Needs no display at a reset, and no function that numpy 2.4 removed."""

        @property
        def contexts(self) -> Any:
            """Rendering contexts, if there are any: the suite makes them here, at every reset."""
            return self._contexts

        def _get_sensor_names(self, *sensor_types: int) -> list[str]:
            cache: dict[tuple[int, ...], list[str]] = self._sensor_types_to_names
            if sensor_types not in cache:
                numbers = np.flatnonzero(np.isin(self.model.sensor_type, sensor_types))
                cache[sensor_types] = [self.model.id2name(number, "sensor") for number in numbers]
            return cache[sensor_types]

    return QuadrupedPhysics


def list_tasks() -> tuple[str, ...]:
    """Return every task of the suite as `domain-task`."""
    return tuple(f"{domain}-{task}" for domain, task in load_suite().ALL_TASKS)


def has_task(task: str) -> bool:
    """Say whether the suite has a task."""
    return task in list_tasks()


def make_lane(
    task: str,
    *,
    seed: int,
    max_episode_steps: int | None = None,
    camera: Camera | None = None,
    task_kwargs: dict[str, Any] | None = None,
) -> "DMCLane":
    """Return one sub-environment.

    Args:
        task: `domain-task`, for instance `walker-walk` or `ball_in_cup-catch`.
        seed: seed of the task; some tasks (`lqr`) draw their model from it.
        max_episode_steps: steps until truncation; by default the suite's own, which is 1000
            everywhere but in `lqr`, which never ends by itself: there we truncate at 1000 too.
        camera: name or number; by default camera 0, as in the suite.
        task_kwargs: given to the task's constructor.
    """
    domain, _, name = task.partition("-")
    env = load_suite().load(domain, name, task_kwargs={**(task_kwargs or {}), "random": seed})
    if domain == "quadruped":
        env.physics.__class__ = _quadruped_physics()
    return DMCLane(env, max_episode_steps, camera, key=task)


class DMCLane:
    """A `dm_control` environment as one sub-environment.

    The observation is the task's entries, flattened, in the task's own order. An episode is
    terminated only when the task itself ends it with discount 0, otherwise truncated.

    Args:
        env: a `dm_control.rl.control.Environment`.
        max_episode_steps: see `make_lane`.
        camera: see `make_lane`.
        key: equal for environments whose models have the same textures and meshes.
    """

    reward_version = None
    goal_visible = None

    def __init__(
        self, env: Any, max_episode_steps: int | None, camera: Camera | None, key: str
    ) -> None:
        self.env = env
        self.max_episode_steps = self._set_limit(max_episode_steps)
        parts = env.observation_spec().values()
        size = sum(int(np.prod(part.shape)) for part in parts)
        self._has_flat_parts = all(len(part.shape) == 1 for part in parts)
        actions = env.action_spec()
        is_bounded = actions.maximum < UNBOUNDED  # lqr is not: there, [-1, 1] is the force itself
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float64)
        self.action_space = spaces.Box(
            np.where(is_bounded, actions.minimum, -1.0).astype(np.float32),
            np.where(is_bounded, actions.maximum, 1.0).astype(np.float32),
        )
        self._key = key
        self._camera = find_camera(env.physics.model.ptr, 0 if camera is None else camera)

    def _set_limit(self, max_episode_steps: int | None) -> int:
        if max_episode_steps is None and np.isfinite(self.env._step_limit):
            return int(np.ceil(self.env._step_limit))
        self.env._step_limit = max_episode_steps or LIMIT_OF_ENDLESS_TASKS
        return int(self.env._step_limit)

    def reset(self, seed: int | None) -> tuple[Float64[np.ndarray, " obs"], dict[str, Any]]:
        """Start an episode."""
        if seed is not None:
            self.env.task.random.seed(seed)
        return self._flat(self.env.reset().observation), {}

    def step(
        self, action: np.ndarray
    ) -> tuple[Float64[np.ndarray, " obs"], float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises:
            EnvironmentFault: if the simulation diverged.
        """
        try:
            step = self.env.step(action)
        except load_suite().control.PhysicsError as error:
            raise EnvironmentFault(f"dmc/{self._key}: the simulation diverged: {error}") from error
        is_last = step.last()
        is_terminated = is_last and step.discount == 0.0
        return (
            self._flat(step.observation),
            step.reward,
            is_terminated,
            is_last and not is_terminated,
            {},
        )

    def _flat(self, observation: dict[str, Any]) -> np.ndarray:
        parts = [*observation.values()]
        return np.concatenate(parts if self._has_flat_parts else [part.ravel() for part in parts])

    def scene(self) -> Scene:
        """Return what to draw."""
        physics = self.env.physics
        return Scene(physics.model.ptr, physics.data.ptr, self._camera, self._key)

    def render(self) -> UInt8[np.ndarray, "height width 3"]:
        """Not used: the scene is drawn."""
        raise RenderingUnavailable(f"dmc/{self._key} is drawn from its scene")

    def get_state(self) -> State:
        """Return the simulator's state."""
        physics = self.env.physics
        state = read_physics(physics.model.ptr, physics.data.ptr) | read_attributes(self.env.task)
        return {**state, "elapsed_steps": np.array(self.env._step_count)}

    def set_state(self, state: State) -> None:
        """Go to a state of `get_state`."""
        physics = self.env.physics
        write_physics(physics.model.ptr, physics.data.ptr, state)
        write_attributes(self.env.task, state)
        self.env._step_count = int(state["elapsed_steps"])
        self.env._reset_next_step = False

    def close(self) -> None:
        """Release the simulation."""
        self.env.close()
