"""Where windows of one length may begin in some episodes."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from pbrl.segments import SegmentIndex


@dataclass(frozen=True)
class WindowStarts:
    """All windows of one length that lie inside one of some episodes; at least one.

    Attributes:
        length: steps of a window.
        episodes: identifiers.
        first: first step of each episode at which a window may begin.
        before: how many windows there are in the episodes before each.
        bounds: likewise, with its own.
        total: how many there are; known to Python, so that drawing waits for no device.
    """

    length: int
    episodes: Int[Tensor, " episode"]
    first: Int[Tensor, " episode"]
    before: Int[Tensor, " episode"]
    bounds: Int[Tensor, " episode"]
    total: int

    def draw(self, number: int, generator: torch.Generator) -> SegmentIndex:
        """Draw windows uniformly with replacement."""
        shape, device = (number,), self.episodes.device
        flat = torch.randint(self.total, shape, generator=generator, device=device)
        which = torch.searchsorted(self.bounds, flat, right=True)
        start = self.first[which] + flat - self.before[which]
        return SegmentIndex(self.episodes[which], start, torch.full_like(start, self.length))
