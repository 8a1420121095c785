"""Simulator states of the segments of a live run, out of the states in which episodes began."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from pbrl.envs import SerialVectorEnv, make
from pbrl.envs.states import State
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

_DERIVED = "data."  # follows from the rest
_MIN_KEPT = 64  # episodes


class EpisodeStarts:
    """Remembers how the simulator stood when each episode began.

    A state for every step would make checkpoints many times larger. The one at the start is enough:
    from it the actions of the replay buffer lead to the beginning of any segment, step for step as
    in the run.

    Args:
        env_id: of `pbrl.envs.make`.
        options: of the environment.
    """

    def __init__(self, env_id: str, options: dict[str, Any] | None = None) -> None:
        self._env_id = env_id
        self._options = options or {}
        self._common: State = {}  # of the first episode; others keep what differs
        self._episodes: dict[int, State] = {}
        self._looks_above = _MIN_KEPT  # episodes; so often that the cost per episode is constant
        self._can_read = True
        self._env: SerialVectorEnv | None = None

    def note(
        self, env: VectorEnv[Any, Any, Any], replay: ReplayBuffer, lanes: Sequence[int]
    ) -> None:
        """Remember the states of sub-environments whose next step is the first of an episode."""
        if not self._can_read:
            return
        for lane in lanes:
            try:
                state = env.get_state(lane)  # type: ignore[attr-defined]
            except NotImplementedError:
                self._can_read = False
                return
            self._add(int(replay.open_episodes[lane]), _own(state))
        self._forget_overwritten(replay)

    def states_before(self, replay: ReplayBuffer, index: SegmentIndex) -> list[State]:
        """Return the state before each segment, with one row; nothing where it cannot be found.

        Args:
            replay: of the run.
            index: the segments, `[segment]`.
        """
        found: list[State] = [{} for _ in range(len(index))]
        episodes = index.episode.tolist()
        for episode in sorted(set(episodes) & set(self._episodes)):
            rows = [row for row, one in enumerate(episodes) if one == episode]
            starts = {row: int(index.start[row]) for row in rows}
            try:
                states = self._replayed(replay, episode, sorted(set(starts.values())))
            except ValueError:  # the ring has overwritten the beginning of the episode
                continue
            for row, start in starts.items():
                found[row] = states[start]
        return found

    def _replayed(self, replay: ReplayBuffer, episode: int, starts: list[int]) -> dict[int, State]:
        """Return the states before some steps of an episode, by going there from its start."""
        env, step = self._simulator(), 0
        env.set_state(0, self._common | self._episodes[episode])
        actions = _first_actions(replay, episode, starts[-1])
        states = {}
        for start in starts:
            for action in actions[step:start]:
                env.step(action[None])
            step = start
            states[start] = {name: array[None] for name, array in _own(env.get_state(0)).items()}
        return states

    def _simulator(self) -> SerialVectorEnv:
        if self._env is None:
            env = make(self._env_id, backend="official", **self._options)
            assert isinstance(env, SerialVectorEnv)  # what the official back end makes
            env.reset(seed=0)
            self._env = env
        return self._env

    def _add(self, episode: int, state: State) -> None:
        if not self._common:
            self._common = state
        common = self._common
        self._episodes[episode] = {
            name: array
            for name, array in state.items()
            if name not in common or not np.array_equal(array, common[name])
        }

    def _forget_overwritten(self, replay: ReplayBuffer) -> None:
        if len(self._episodes) <= self._looks_above:
            return
        kept = set(replay.completed_episodes().tolist()) | set(replay.open_episodes.tolist())
        self._episodes = {one: state for one, state in self._episodes.items() if one in kept}
        self._looks_above = max(_MIN_KEPT, 2 * len(self._episodes))

    def state_dict(self) -> dict[str, Any]:
        """Return everything as arrays."""
        episodes = {str(episode): state for episode, state in self._episodes.items()}
        return {"common": self._common, "episodes": episodes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._common = dict(state["common"])
        self._episodes = {int(episode): dict(one) for episode, one in state["episodes"].items()}


def _own(state: State) -> State:
    return {name: np.array(array) for name, array in state.items() if not name.startswith(_DERIVED)}


def _first_actions(replay: ReplayBuffer, episode: int, number: int) -> np.ndarray:
    """Return the first actions of an episode.

    Raises:
        ValueError: if they are overwritten.
    """
    if number == 0:
        return np.zeros((0, 1), np.float32)
    numbers = torch.tensor([[episode], [0], [number]], device=replay.device)
    actions: np.ndarray = replay.gather(SegmentIndex(*numbers)).actions[0].cpu().numpy()
    return actions
