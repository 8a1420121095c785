"""Which dataset labels are of: its name, and a checksum of what cannot differ in another one."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from pbrl.replay import ReplayBuffer

_SHOWN = 12  # characters of a checksum that a message names
_HEXADECIMAL = frozenset("0123456789abcdef")
_CHECKSUM_LENGTH = 64


@dataclass(frozen=True, kw_only=True)
class DatasetIdentity:
    """What a file of labels says of the dataset whose episodes it names.

    Attributes:
        name: of the dataset, for people: the same episodes may bear another name elsewhere.
        checksum: SHA-256, hexadecimal, see `identify`.
        num_episodes: how many episodes it is of, the first ones.
    """

    name: str
    checksum: str
    num_episodes: int

    def __post_init__(self) -> None:
        if not set(self.checksum) <= _HEXADECIMAL or len(self.checksum) != _CHECKSUM_LENGTH:
            raise ValueError(
                f"the checksum of a dataset must be {_CHECKSUM_LENGTH} hexadecimal digits, got "
                f"{self.checksum!r}"
            )
        if self.num_episodes < 1:
            raise ValueError(f"num_episodes must be at least 1, got {self.num_episodes}")

    def plain(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: object) -> "DatasetIdentity":
        """Return what `plain` was made of, and trust nothing in it.

        Raises:
            ValueError: naming what came and what was expected.
        """
        kinds = {"name": str, "checksum": str, "num_episodes": int}
        if not isinstance(plain, Mapping) or set(plain) != set(kinds):
            raise ValueError(f"a dataset is told by {', '.join(kinds)}, got {plain!r}")
        for name, kind in kinds.items():
            if type(plain[name]) is not kind:
                raise ValueError(
                    f"{name} of a dataset must be {kind.__name__}, got {plain[name]!r}"
                )
        return cls(**plain)

    def __str__(self) -> str:
        return f"{self.name} ({self.num_episodes} episodes, checksum {self.checksum[:_SHOWN]}...)"


def identify(name: str, replay: ReplayBuffer, num_episodes: int | None = None) -> DatasetIdentity:
    """Return what tells a dataset from others, whatever file it is read from.

    The checksum is of the lengths, actions and true rewards of its episodes, in single precision,
    as learners see them. Observations are left out: they can be read with other keys, and images
    are large.

    Args:
        name: of the dataset.
        replay: its episodes 0, 1, ..., one after the other.
        num_episodes: only of so many, the first ones; by default of all. A dataset that was
            extended agrees with what it was in these.

    Raises:
        ValueError: if there are fewer.
    """
    episodes = replay.completed_episodes()
    number = len(episodes) if num_episodes is None else num_episodes
    if not 1 <= number <= len(episodes):
        raise ValueError(f"num_episodes must lie in 1 to {len(episodes)}, got {number}")
    lengths = replay.episode_lengths(episodes[:number])
    steps = slice(int(lengths.sum()))
    digest = hashlib.sha256()
    for values, kind in (
        (lengths.to(torch.int64), "<i8"),
        (replay.all_actions()[steps], "<f4"),
        (replay.all_true_rewards()[steps], "<f4"),
    ):
        digest.update(values.contiguous().cpu().numpy().astype(kind, copy=False).data)
    return DatasetIdentity(name=name, checksum=digest.hexdigest(), num_episodes=number)


def check_same_dataset(
    identity: DatasetIdentity, name: str, replay: ReplayBuffer, next_step: str
) -> None:
    """Refuse a dataset that is not the one named; it may have more episodes since.

    Args:
        identity: the one named.
        name: of the dataset at hand.
        replay: its episodes.
        next_step: what to do if they are the same episodes all the same, for the message.

    Raises:
        ValueError: naming both, and the next step.
    """
    held = len(replay.completed_episodes())
    found = identify(name, replay, min(held, identity.num_episodes))
    if found.checksum != identity.checksum:
        more = "" if held <= identity.num_episodes else f" in its first {identity.num_episodes}"
        raise ValueError(
            f"the labels are of another dataset: they are of {identity}, and this is "
            f"{identify(name, replay)}, which differs{more}. Give the dataset that was labelled. "
            f"{next_step}"
        )
