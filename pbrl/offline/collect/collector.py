"""Collecting episodes that depend on their own seed alone, in several environments at once."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float32

from pbrl.envs.states import State
from pbrl.envs.vector import SerialVectorEnv
from pbrl.offline.collect.actors import Actor
from pbrl.offline.collect.episodes import PER_STEP_STATE, Episode, Job

DERIVED = "data."  # state that follows from the rest
ACTING, WARMING_UP = 1, 2  # purposes of an episode's generators

Jobs = Callable[[], Job | None]
"""Returns the next episode to collect, or None when there is none left."""


def collect_episodes(
    env: SerialVectorEnv,
    actor: Actor,
    jobs: Jobs,
    *,
    warm_up: Actor | None = None,
    keep_states: bool = False,
) -> Iterator[tuple[Job, Episode | None]]:
    """Collect episodes until there is no job left, each as soon as it is complete.

    An episode depends on its job alone, not on those collected beside or before it, up to the
    rounding of a network's product over a batch of another size.

    Args:
        env: the environments, official back end; their number is how many episodes run at once.
        actor: acts while steps are recorded.
        jobs: the episodes; called once per environment and then when one ends.
        warm_up: acts before the recording begins, in jobs that ask for it.
        keep_states: keep simulator states too.

    Yields:
        The job and its episode; None in place of one that ended before its recording began.

    Raises:
        ValueError: if a job asks for a warm-up and nobody is given for it.
        NotImplementedError: if states are to be kept and the environment's cannot be read.
    """
    lanes = [_Lane(jobs()) for _ in range(env.num_envs)]
    following: deque[Job | None] = deque()
    observations, _ = env.reset(seed=[_seed(lane.job) for lane in lanes])
    env.episode_seeds = _seeds(jobs, following)
    while any(lane.job for lane in lanes):
        actions = _act(lanes, observations, actor, warm_up)
        if keep_states:
            _keep_states(env, lanes)
        before = observations
        observations, rewards, terminated, truncated, infos = env.step(actions)
        for place, lane in enumerate(lanes):
            lane.add(before[place], actions[place], float(rewards[place]), infos, place)
        for place in np.flatnonzero(terminated | truncated).tolist():
            lane, lanes[place] = lanes[place], _Lane(following.popleft())
            if lane.job:
                yield lane.job, lane.episode(infos["final_obs"][place], bool(terminated[place]))
    env.episode_seeds = None


class _Lane:
    """The episode in progress in one environment; without a job it only keeps the others company.

    Acting and warming up have a generator each, and that of acting begins anew when the recording
    does: what is drawn in vain while others record or warm up changes nothing.
    """

    def __init__(self, job: Job | None) -> None:
        self.job = job
        used = job or Job(source=0, number=0, seed=0)
        self.rng, self.warm_up_rng = used.rng(ACTING), used.rng(WARMING_UP)
        self.warm_up_left = int(self.warm_up_rng.integers(used.max_warm_up + 1))
        self._observations: list[np.ndarray] = []
        self._actions: list[np.ndarray] = []
        self._rewards: list[float] = []
        self._successes: list[bool] = []
        self._physics: list[np.ndarray] = []
        self._constants: State = {}

    @property
    def is_recording(self) -> bool:
        return self.job is not None and self.warm_up_left == 0

    def add(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        reward: float,
        infos: dict[str, Any],
        place: int,
    ) -> None:
        """Record a step, or count one of the warm-up."""
        if self.is_recording:
            self._observations.append(observation)
            self._actions.append(action)
            self._rewards.append(reward)
            if "success" in infos:
                self._successes.append(bool(infos["success"][place]))
        elif self.job:
            self.warm_up_left -= 1
            self.rng = self.job.rng(ACTING)

    def keep_state(self, state: State) -> None:
        """Keep the state before the step that comes next."""
        self._physics.append(state[PER_STEP_STATE])
        if not self._constants:
            self._constants = {
                name: value[None]
                for name, value in state.items()
                if name != PER_STEP_STATE and not name.startswith(DERIVED)
            }

    def episode(self, last_observation: np.ndarray, terminated: bool) -> Episode | None:
        """Return the complete episode; None if it ended before the recording began."""
        if not self._rewards:
            return None
        states = {PER_STEP_STATE: np.stack(self._physics)} if self._physics else {}
        return Episode(
            observations=np.stack([*self._observations, last_observation]),
            actions=np.stack(self._actions),
            rewards=np.array(self._rewards, np.float32),
            terminated=terminated,
            successes=np.array(self._successes) if self._successes else None,
            states=states | self._constants,
        )


def _seed(job: Job | None) -> int:
    return 0 if job is None else job.env_seed


def _seeds(jobs: Jobs, following: deque[Job | None]) -> Iterator[int]:
    """Give the environment the seed of the next job, and note the job."""
    while True:
        job = jobs()
        following.append(job)
        yield _seed(job)


def _act(
    lanes: list[_Lane], observations: np.ndarray, actor: Actor, warm_up: Actor | None
) -> Float32[np.ndarray, "env act"]:
    """Return every lane's action, by whoever is to act in it."""
    is_warming_up = np.array([lane.warm_up_left > 0 for lane in lanes])
    if not is_warming_up.any():
        return actor(observations, [lane.rng for lane in lanes]).astype(np.float32)
    if warm_up is None:
        raise ValueError("a job asks for a warm-up, and no actor is given for it")
    actions = warm_up(observations, [lane.warm_up_rng for lane in lanes])
    if not is_warming_up.all():
        acting = actor(observations, [lane.rng for lane in lanes])
        actions = np.where(is_warming_up[:, None], actions, acting)
    return actions.astype(np.float32)


def _keep_states(env: SerialVectorEnv, lanes: list[_Lane]) -> None:
    for place, lane in enumerate(lanes):
        if lane.is_recording:
            state = env.get_state(place)
            if PER_STEP_STATE not in state:
                raise ValueError(f"{env.record.id} has no simulator state to keep")
            lane.keep_state(state)
