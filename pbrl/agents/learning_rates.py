"""How a learning rate changes over the updates."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RateSchedule:
    """A rate that first rises linearly and may then fall along half a cosine.

    Attributes:
        peak: the rate itself, above 0.
        warmup: updates over which it rises from near 0; 0 starts at the peak.
        decay: updates, from the first one, after which it has fallen to `end`; None never does.
        every: it falls in steps of so many updates.
        start: share of the peak that the rise begins with.
        end: share of the peak that it falls to.
    """

    peak: float = 1e-4
    warmup: int = 0
    decay: int | None = None
    every: int = 1
    start: float = 0.0
    end: float = 0.0

    def __post_init__(self) -> None:
        for name, legal, holds in (
            ("peak", "above 0", self.peak > 0),
            ("warmup", "0 or above", self.warmup >= 0),
            ("decay", "None or above the warm-up", self.decay is None or self.decay > self.warmup),
            ("every", "at least 1", self.every >= 1),
            ("start", "in [0, 1]", 0 <= self.start <= 1),
            ("end", "in [0, 1]", 0 <= self.end <= 1),
        ):
            if not holds:
                raise ValueError(f"{name} of a rate must be {legal}, got {getattr(self, name)!r}")

    def at(self, num_updates: int) -> float:
        """Return the rate of the update after so many."""
        if num_updates < self.warmup:
            share = (num_updates + 1) / self.warmup
            return self.peak * (self.start + (1 - self.start) * share)
        if self.decay is None:
            return self.peak
        since = (num_updates - self.warmup) // self.every * self.every
        done = min(1.0, since / (self.decay - self.warmup))
        return self.peak * (self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * done)))
