"""Segments: stretches of an episode, as indices into a replay buffer and as gathered tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor


@dataclass(frozen=True)
class SegmentIndex:
    """Where segments lie; a window costs three integers until somebody gathers it.

    The shape is ``[segment]``, or ``[query, 2]`` for pairs, or ``[query, K]`` for lists.

    Attributes:
        episode: episode identifier, as given by the replay buffer.
        start: first step of the segment, counted from the start of its episode.
        length: number of steps.
    """

    episode: Int[Tensor, "*shape"]
    start: Int[Tensor, "*shape"]
    length: Int[Tensor, "*shape"]

    @property
    def shape(self) -> torch.Size:
        """Shape of the index, without the time axis."""
        return self.episode.shape

    def __len__(self) -> int:
        return len(self.episode)

    def __getitem__(self, key: Any) -> "SegmentIndex":
        return SegmentIndex(self.episode[key], self.start[key], self.length[key])

    def reshape(self, *shape: int) -> "SegmentIndex":
        """Return the same segments in another shape."""
        return SegmentIndex(
            self.episode.reshape(shape), self.start.reshape(shape), self.length.reshape(shape)
        )

    def to(self, device: torch.device | str) -> "SegmentIndex":
        """Return the index on `device`."""
        return SegmentIndex(self.episode.to(device), self.start.to(device), self.length.to(device))

    @staticmethod
    def cat(parts: Sequence["SegmentIndex"]) -> "SegmentIndex":
        """Concatenate along the first axis."""
        return SegmentIndex(
            torch.cat([part.episode for part in parts]),
            torch.cat([part.start for part in parts]),
            torch.cat([part.length for part in parts]),
        )

    @staticmethod
    def empty(*shape: int, device: torch.device | str = "cpu") -> "SegmentIndex":
        """Return an index of `shape`, all zeros; the first axis is usually 0."""
        zeros = torch.zeros(shape, dtype=torch.int64, device=device)
        return SegmentIndex(zeros, zeros.clone(), zeros.clone())


@dataclass(frozen=True)
class Segments:
    """Gathered segments; shorter ones are padded with zeros and masked.

    Attributes:
        observations: `[*shape, time, obs]`; a query of two segments is `[query, 2, time, obs]`.
            Flat images are uint8.
        actions: `[*shape, time, act]`, in [-1, 1].
        mask: true where the step belongs to the segment.
        true_rewards: reward of the environment, for simulated teachers and evaluation. No learner
            reads it.
    """

    observations: Real[Tensor, "*shape time obs"]
    actions: Float[Tensor, "*shape time act"]
    mask: Bool[Tensor, "*shape time"]
    true_rewards: Float[Tensor, "*shape time"]

    def __len__(self) -> int:
        return len(self.mask)

    def __getitem__(self, key: Any) -> "Segments":
        return Segments(
            self.observations[key], self.actions[key], self.mask[key], self.true_rewards[key]
        )

    def reshape(self, *shape: int) -> "Segments":
        """Return the same segments in another shape; time and features stay."""
        return Segments(
            self.observations.reshape(*shape, *self.observations.shape[-2:]),
            self.actions.reshape(*shape, *self.actions.shape[-2:]),
            self.mask.reshape(*shape, self.mask.shape[-1]),
            self.true_rewards.reshape(*shape, self.mask.shape[-1]),
        )

    def true_returns(self) -> Float[Tensor, "*shape"]:
        """Sum of the environment's rewards over each segment."""
        return (self.true_rewards * self.mask).sum(-1)
