"""Frames of recorded segments, out of the simulator."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from jaxtyping import UInt8

from pbrl.envs import SerialVectorEnv, make
from pbrl.envs.opengl import mujoco
from pbrl.queries.human.recorded import RecordedSegment
from pbrl.queries.human.restoring import Layout, num_hidden, restore

Frame = UInt8[np.ndarray, "height width 3"]


class CannotDraw(ValueError):
    """A segment holds nothing that the simulator could show; its numbers can still be drawn."""


class SegmentRenderer:
    """Puts an environment into the states of segments and draws what its camera sees.

    Args:
        env_id: of `pbrl.envs.make`.
        frame_size: height and width in pixels.
        camera: name or number; None for the environment's usual one.

    Raises:
        ValueError: if there is no such environment or camera.
    """

    def __init__(
        self, env_id: str, frame_size: tuple[int, int], camera: str | int | None = None
    ) -> None:
        options: dict[str, Any] = {} if camera is None else {"camera": camera}
        env = make(env_id, backend="official", frame_size=frame_size, **options)
        assert isinstance(env, SerialVectorEnv)  # what the official back end makes
        self._env = env
        self._env_id = env_id
        self._env.reset(seed=0)

    def frames(self, segment: RecordedSegment) -> Iterator[Frame]:
        """Yield one frame for each step, of the state before its action.

        The states come from the segment itself; or from its actions, if it has only the first one;
        or from its observations, where these hold the state (`restoring.HIDDEN_POSITIONS`).

        Raises:
            CannotDraw: if there are no states to go by.
            RenderingUnavailable: if there is no OpenGL library.
        """
        num_states = len(next(iter(segment.states.values()), ()))
        if num_states == len(segment):
            return self._from_states(segment)
        return self._from_actions(segment) if num_states else self._from_observations(segment)

    def close(self) -> None:
        """Release the simulator."""
        self._env.close()

    def _from_states(self, segment: RecordedSegment) -> Iterator[Frame]:
        for step in range(len(segment)):
            self._env.set_state(0, {name: array[step] for name, array in segment.states.items()})
            yield self._env.render()[0]

    def _from_actions(self, segment: RecordedSegment) -> Iterator[Frame]:
        self._env.set_state(0, {name: array[0] for name, array in segment.states.items()})
        yield self._env.render()[0]
        for action in segment.actions[:-1]:
            self._env.step(action[None])
            yield self._env.render()[0]

    def _from_observations(self, segment: RecordedSegment) -> Iterator[Frame]:
        hidden = num_hidden(self._env_id)
        simulator = getattr(self._env.lanes[0], "env", None)
        simulator = getattr(simulator, "unwrapped", None)
        if hidden is None or not isinstance(simulator, MujocoEnv):
            raise CannotDraw(
                f"the segment has no simulator states, and observations of {self._env_id} do not "
                "hold them"
            )
        model, data = simulator.model, simulator.data
        layout = Layout(
            num_positions=model.nq,
            num_velocities=model.nv,
            num_hidden=hidden,
            step_seconds=simulator.dt,
        )
        for positions, velocities in restore(segment.observations, layout):
            data.qpos[:], data.qvel[:] = positions, velocities
            mujoco.mj_forward(model, data)
            yield self._env.render()[0]
