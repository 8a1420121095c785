"""Segments with all that is needed to show them and to learn from them, as bytes of a database."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from pbrl.segments import SegmentIndex, Segments

_STATE = "state."
_MAX_BYTES = 2**30


@dataclass(frozen=True, kw_only=True)
class RecordedSegment:
    """A stretch of an episode, whole: nothing about it has to be looked up elsewhere.

    Attributes:
        observations: before each action.
        actions: in [-1, 1].
        true_rewards: the environment's own, where they are known.
        states: simulator states by name, `[time, ...]` before each action; or, with one row, the
            state before the first action, from which the actions lead to the others.
        episode: where the segment was cut: the episode's number in its dataset or run.
        start: its first step there.
    """

    observations: Float[np.ndarray, "time obs"]
    actions: Float[np.ndarray, "time act"]
    true_rewards: Float[np.ndarray, " time"] | None = None
    states: Mapping[str, np.ndarray] = field(default_factory=dict)
    episode: int = 0
    start: int = 0

    def __post_init__(self) -> None:
        if len(self.observations) < 1 or len(self.observations) != len(self.actions):
            raise ValueError(
                "a segment needs at least one step and one observation for each action, got "
                f"{len(self.observations)} observations and {len(self.actions)} actions"
            )
        if self.true_rewards is not None and len(self.true_rewards) != len(self):
            raise ValueError(f"expected {len(self)} true_rewards, got {len(self.true_rewards)}")
        rows = {len(array) for array in self.states.values()}
        if not rows <= {1} and not rows <= {len(self)}:
            raise ValueError(
                f"states must have one row, or {len(self)} rows like the segment, got {rows}"
            )
        if not (np.isfinite(self.observations).all() and np.isfinite(self.actions).all()):
            raise ValueError("observations and actions of a segment must be finite")

    def __len__(self) -> int:
        return len(self.observations)

    @property
    def content(self) -> dict[str, np.ndarray]:
        """The arrays, without the place where the segment was cut."""
        arrays = {
            "observations": self.observations.astype(np.float32),
            "actions": self.actions.astype(np.float32),
        }
        if self.true_rewards is not None:
            arrays["true_rewards"] = self.true_rewards.astype(np.float32)
        return arrays | {_STATE + name: array for name, array in sorted(self.states.items())}

    def digest(self) -> str:
        """Return a name that segments of the same content share."""
        digest = hashlib.blake2b(digest_size=20)
        for name, array in self.content.items():
            digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def to_bytes(self) -> bytes:
        """Return the content as an NPZ archive."""
        file = io.BytesIO()
        np.savez_compressed(file, allow_pickle=False, **self.content)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, *, episode: int = 0, start: int = 0) -> "RecordedSegment":
        """Read what `to_bytes` returned; nothing in it is unpickled.

        Raises:
            ValueError: if it is larger than a segment can be.
        """
        if len(data) > _MAX_BYTES:
            raise ValueError(f"a segment takes at most {_MAX_BYTES} bytes, got {len(data)}")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return cls(
            observations=arrays["observations"],
            actions=arrays["actions"],
            true_rewards=arrays.get("true_rewards"),
            states={
                name.removeprefix(_STATE): array
                for name, array in arrays.items()
                if name.startswith(_STATE)
            },
            episode=episode,
            start=start,
        )


def recorded_segments(index: SegmentIndex, segments: Segments) -> list[RecordedSegment]:
    """Return copies of segments, without states.

    Args:
        index: where they were cut, `[segment]`.
        segments: what was gathered there.
    """
    return [
        RecordedSegment(
            observations=segments.observations[row, :length].cpu().numpy(),
            actions=segments.actions[row, :length].cpu().numpy(),
            true_rewards=segments.true_rewards[row, :length].cpu().numpy(),
            episode=int(index.episode[row]),
            start=int(index.start[row]),
        )
        for row, length in enumerate(index.length.tolist())
    ]
