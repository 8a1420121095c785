"""A vector environment that steps its sub-environments one after the other in this process."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float32, UInt8

from pbrl.envs.checks import check_action_space, check_actions, check_finite
from pbrl.envs.record import EnvRecord
from pbrl.envs.rendering import Renderer, Scene
from pbrl.envs.states import State

Observations = Float32[np.ndarray, "env obs"] | UInt8[np.ndarray, "env obs"]
StepResult = tuple[
    Observations,
    Float32[np.ndarray, " env"],
    Bool[np.ndarray, " env"],
    Bool[np.ndarray, " env"],
    dict[str, Any],
]


@runtime_checkable
class Lane(Protocol):
    """One sub-environment, with a flat observation and a bounded continuous action."""

    observation_space: spaces.Box
    action_space: spaces.Space[Any]
    max_episode_steps: int | None
    reward_version: str | None
    goal_visible: bool | None

    def reset(self, seed: int | None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; a seed other than None also restarts every random generator."""
        ...

    def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step; as `gymnasium.Env.step`."""
        ...

    def scene(self) -> Scene | None:
        """Return what to draw, or None if `render` has to."""
        ...

    def render(self) -> UInt8[np.ndarray, "height width 3"]:
        """Return a frame of the lane's own size."""
        ...

    def get_state(self) -> State:
        """Return the simulator's state, without random generators."""
        ...

    def set_state(self, state: State) -> None:
        """Go to a state of `get_state`."""
        ...

    def close(self) -> None:
        """Release what the lane holds."""
        ...


def lane_seeds(seed: int | Sequence[int], num_envs: int) -> list[int]:
    """Return one seed per sub-environment, independent streams of one number.

    Args:
        seed: a non-negative number, or one seed for each sub-environment, taken as they are.
        num_envs: how many.

    Raises:
        ValueError: if a sequence of another length is given.
    """
    if isinstance(seed, int | np.integer):
        children = np.random.SeedSequence(int(seed)).spawn(num_envs)
        return [int(child.generate_state(1)[0]) for child in children]
    if len(seed) != num_envs:
        raise ValueError(f"seed must be a number or {num_envs} numbers, got {len(seed)}")
    return [int(one) for one in seed]


def unit_box(shape: tuple[int, ...]) -> spaces.Box:
    """Return the space of flat actions in [-1, 1]."""
    return spaces.Box(-1.0, 1.0, (int(np.prod(shape)),), np.float32)


class SerialVectorEnv(VectorEnv[Any, Any, Any]):
    """Sub-environments in one Python loop that writes into whole arrays.

    Actions are in [-1, 1] (clipped, then scaled to the bounds of the sub-environment); observations
    and rewards are float32. Autoreset is SAME_STEP: when an episode ends, `step` returns the first
    observation of the next one, and `infos["final_obs"]`, `infos["final_info"]` hold the last of
    the old one. `infos["success"]` is there when the sub-environments report success, and always
    belongs to the step just taken. Other infos of the sub-environments are left out, except at the
    end of an episode, for speed.

    Args:
        lanes: the sub-environments, equal in their spaces.
        record: what is run.
        seed: see `lane_seeds`; used by the first `reset` that is given none.
        frame_size: height and width of rendered frames, in pixels.

    Attributes:
        record: what is run.
        episode_seeds: seeds of the episodes that follow an ended one, taken in the order in which
            episodes end and, within a step, in the order of the sub-environments. None, or the end
            of them, goes on with the running random generators.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        record: EnvRecord,
        seed: int | Sequence[int] = 0,
        frame_size: tuple[int, int] = (240, 320),
    ) -> None:
        self.lanes = list(lanes)
        self.record = record
        self.num_envs = len(self.lanes)
        self.frame_size = frame_size
        self.episode_seeds: Iterator[int] | None = None
        space = self.lanes[0].observation_space
        native = check_action_space(self.lanes[0].action_space, record.id)
        self._native_shape = (self.num_envs, *native.shape)
        self._centre = ((native.high + native.low) / 2).ravel().astype(np.float32)
        self._half_range = ((native.high - native.low) / 2).ravel().astype(np.float32)
        self._is_native = not self._centre.any() and bool((self._half_range == 1.0).all())
        self._dtype = np.uint8 if space.dtype == np.uint8 else np.float32
        self.single_observation_space = spaces.Box(
            space.low.astype(self._dtype), space.high.astype(self._dtype), dtype=self._dtype
        )
        self.single_action_space = unit_box(native.shape)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._observation_shape = (self.num_envs, *space.shape)
        self._action_shape = (self.num_envs, len(self._centre))
        self._steps = [lane.step for lane in self.lanes]
        self._seeds: list[int] | None = lane_seeds(seed, self.num_envs)
        self._num_steps = 0
        self._renderer: Renderer | None = None

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observations, dict[str, Any]]:
        """Start an episode in every sub-environment.

        Args:
            seed: see `lane_seeds`; None goes on with the running random generators.
            options: not used.

        Returns:
            Observations `[env, obs]` and an empty dict.
        """
        del options
        if seed is not None:
            self._seeds = lane_seeds(seed, self.num_envs)
        seeds = self._seeds if self._seeds is not None else [None] * self.num_envs
        self._seeds = None
        observations = np.empty(self._observation_shape, self._dtype)
        for index, (lane, lane_seed) in enumerate(zip(self.lanes, seeds, strict=True)):
            observations[index], _ = lane.reset(lane_seed)
        check_finite(self.record.id, self._num_steps, observations)
        return observations, {}

    def step(self, actions: Any) -> StepResult:
        """Take one step in every sub-environment.

        Args:
            actions: `[env, act]`, in [-1, 1].

        Raises:
            ValueError: if the actions have another shape or are not numbers.
            EnvironmentFault: if an observation or a reward is not finite.
        """
        native = self._native_actions(actions)
        self._num_steps += 1
        observations = np.empty(self._observation_shape, self._dtype)
        rewards = [0.0] * self.num_envs
        terminated = np.zeros(self.num_envs, np.bool_)
        truncated = np.zeros(self.num_envs, np.bool_)
        success: list[Any] = []
        final_infos: dict[int, dict[str, Any]] = {}
        for index, step in enumerate(self._steps):
            observations[index], rewards[index], is_terminated, is_truncated, info = step(
                native[index]
            )
            if is_terminated or is_truncated:
                terminated[index], truncated[index] = is_terminated, is_truncated
                final_infos[index] = info
            if "success" in info:
                success.append(info["success"])
        reward_array = np.array(rewards, np.float32)
        check_finite(self.record.id, self._num_steps, observations, reward_array)
        infos: dict[str, Any] = {}
        if len(success) == self.num_envs:
            infos["success"] = np.array(success, np.float32) > 0
        if final_infos:
            self._start_next_episodes(observations, final_infos, infos)
        return observations, reward_array, terminated, truncated, infos

    def _native_actions(self, actions: Any) -> np.ndarray:
        unit = check_actions(actions, self._action_shape)
        if not self._is_native:
            unit = unit * self._half_range + self._centre
        return unit.reshape(self._native_shape)

    def _start_next_episodes(
        self,
        observations: np.ndarray,
        final_infos: dict[int, dict[str, Any]],
        infos: dict[str, Any],
    ) -> None:
        """Reset the finished lanes in place and put what they ended with into `infos`."""
        for index, info in final_infos.items():
            final = {"final_obs": observations[index].copy(), "final_info": info}
            infos.update(self._add_info(infos, final, index))
            seed = None if self.episode_seeds is None else next(self.episode_seeds, None)
            observations[index], _ = self.lanes[index].reset(seed)
        check_finite(self.record.id, self._num_steps, observations)

    def render(self) -> UInt8[np.ndarray, "env height width 3"]:  # type: ignore[override]
        """Return a frame of every sub-environment in its present state.

        Raises:
            RenderingUnavailable: if no OpenGL library is there, naming the system package.
        """
        return np.stack([self._frame(lane) for lane in self.lanes])

    def _frame(self, lane: Lane) -> np.ndarray:
        scene = lane.scene()
        if scene is None:
            return resized(lane.render(), *self.frame_size)
        if self._renderer is None:
            self._renderer = Renderer(*self.frame_size)
        return self._renderer.draw(scene)

    def get_state(self, index: int) -> State:
        """Return the simulator's state of one sub-environment, as arrays of fixed shapes.

        The same actions lead from it to the same steps. Random generators are not part of it, so
        what follows the next reset may differ.

        Raises:
            NotImplementedError: if the environment's state cannot be read from outside.
        """
        return self.lanes[index].get_state()

    def set_state(self, index: int, state: State) -> None:
        """Bring one sub-environment into a state of `get_state` of an equal environment."""
        self.lanes[index].set_state(state)

    def close_extras(self, **kwargs: Any) -> None:
        """Close the sub-environments."""
        del kwargs
        if self._renderer is not None:
            self._renderer.close()
        for lane in self.lanes:
            lane.close()


def resized(
    frame: UInt8[np.ndarray, "rows columns 3"], height: int, width: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Return a frame in another size, by the nearest pixel."""
    rows = np.arange(height) * frame.shape[0] // height
    columns = np.arange(width) * frame.shape[1] // width
    smaller: np.ndarray = frame[rows[:, None], columns]
    return smaller
