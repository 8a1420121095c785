"""Single episodes as arrays, and how they are put one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from pbrl.offline.checks import DatasetError, as_floats
from pbrl.offline.episodes import EpisodeBounds, Steps


@dataclass(frozen=True, kw_only=True)
class EpisodeArrays:
    """One episode, perhaps from outside: `checked` tells whether its arrays fit together.

    Attributes:
        observations: what the agent saw before each action and, if known, after the last one: as
            many as actions, or one more.
        actions: what it did.
        rewards: the environment's, one per action.
        terminated: whether the episode ended in a terminal state; otherwise it was cut off.
    """

    observations: Float[np.ndarray, "seen obs"]
    actions: Float[np.ndarray, "done act"]
    rewards: Float[np.ndarray, " rewarded"]
    terminated: bool

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def has_last_observation(self) -> bool:
        """Whether the observation after the last action is known."""
        return len(self.observations) > len(self.actions)

    def checked(self, where: str) -> "EpisodeArrays":
        """Return the episode in single precision.

        Args:
            where: the episode's name, for messages.

        Raises:
            DatasetError: naming the array, what came and what was expected.
        """
        num_steps = len(self.actions)
        num_observations = num_steps + int(len(self.observations) != num_steps)
        return EpisodeArrays(
            actions=as_floats(f"{where}: actions", self.actions, (None, None)),
            observations=as_floats(
                f"{where}: observations", self.observations, (num_observations, None)
            ),
            rewards=as_floats(f"{where}: rewards", self.rewards, (num_steps,)),
            terminated=bool(self.terminated),
        )


class StepsWriter:
    """Puts episodes one after the other, in memory that is taken once for all of them.

    Args:
        where: the source, for messages.
        num_steps: of all episodes that will be added.
    """

    def __init__(self, where: str, num_steps: int) -> None:
        self._where = where
        self._num_steps = num_steps
        self._steps: Steps | None = None
        self._start = 0
        self._lengths: list[int] = []
        self._terminated: list[bool] = []
        self._last_observations: list[np.ndarray] = []

    def add(self, episode: EpisodeArrays) -> None:
        """Copy an episode, in single precision.

        Raises:
            DatasetError: if its observations or actions have another size than the first one's.
        """
        if self._steps is None:
            self._steps = Steps(
                observations=np.empty((self._num_steps, episode.observations.shape[1]), np.float32),
                actions=np.empty((self._num_steps, episode.actions.shape[1]), np.float32),
                rewards=np.empty(self._num_steps, np.float32),
            )
        place = slice(self._start, self._start + len(episode))
        for name, array in vars(self._steps).items():
            found = getattr(episode, name)
            if found.shape[1:] != array.shape[1:]:
                raise DatasetError(
                    f"{self._where}: {name} of episode {len(self._lengths)} have {found.shape[1]} "
                    f"entries, those of episode 0 have {array.shape[1]}"
                )
            array[place] = found[: len(episode)]
        self._start = place.stop
        self._lengths.append(len(episode))
        self._terminated.append(episode.terminated)
        if episode.has_last_observation:
            self._last_observations.append(episode.observations[-1].astype(np.float32))

    def finish(self) -> tuple[Steps, EpisodeBounds, Float32[np.ndarray, "episode obs"] | None]:
        """Return the steps, where each episode lies, and what each ended with.

        The latter is None if the last observation of any episode is unknown.

        Raises:
            DatasetError: if there is no episode.
        """
        if self._steps is None:
            raise DatasetError(f"{self._where} has no episode")
        assert self._start == self._num_steps
        length = np.array(self._lengths)
        bounds = EpisodeBounds(
            start=np.cumsum(length) - length, length=length, terminated=np.array(self._terminated)
        )
        if len(self._last_observations) < len(bounds):
            return self._steps, bounds, None
        return self._steps, bounds, np.stack(self._last_observations)


def join_episodes(
    where: str, episodes: Sequence[EpisodeArrays]
) -> tuple[Steps, EpisodeBounds, Float32[np.ndarray, "episode obs"] | None]:
    """Return what `StepsWriter` makes of episodes that are all there.

    Raises:
        DatasetError: if there is none, or their observations or actions differ in size.
    """
    writer = StepsWriter(where, sum(map(len, episodes)))
    for episode in episodes:
        writer.add(episode)
    return writer.finish()
