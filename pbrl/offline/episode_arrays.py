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


def join_episodes(
    where: str, episodes: Sequence[EpisodeArrays]
) -> tuple[Steps, EpisodeBounds, Float32[np.ndarray, "episode obs"] | None]:
    """Return the steps of episodes in single precision, where each lies, and what each ended with.

    Args:
        where: the source, for messages.
        episodes: at least one. If the last observation of any is unknown, that of none is given.

    Raises:
        DatasetError: if there is none, or their observations or actions differ in size.
    """
    if not episodes:
        raise DatasetError(f"{where} has no episode")
    for name in ("observations", "actions"):
        sizes = [getattr(episode, name).shape[1] for episode in episodes]
        if len(set(sizes)) > 1:
            number = int((np.array(sizes) != sizes[0]).argmax())
            raise DatasetError(
                f"{where}: {name} of episode {number} have {sizes[number]} entries, those of "
                f"episode 0 have {sizes[0]}"
            )
    length = np.array([len(episode) for episode in episodes])
    bounds = EpisodeBounds(
        start=np.cumsum(length) - length,
        length=length,
        terminated=np.array([episode.terminated for episode in episodes]),
    )
    last_observations = None
    if all(episode.has_last_observation for episode in episodes):
        last_observations = np.stack([episode.observations[-1] for episode in episodes])
    steps = Steps(
        observations=np.concatenate(
            [episode.observations[: len(episode)] for episode in episodes], dtype=np.float32
        ),
        actions=np.concatenate([episode.actions for episode in episodes], dtype=np.float32),
        rewards=np.concatenate([episode.rewards for episode in episodes], dtype=np.float32),
    )
    return steps, bounds, last_observations
