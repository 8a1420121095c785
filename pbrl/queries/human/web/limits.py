"""How often somebody may ask for something."""

import threading
import time
from collections.abc import Callable

MAX_KEYS = 10_000


class RateLimiter:
    """A bucket of tokens for each key: full at first, refilled steadily, empty means wait.

    Args:
        rate: tokens per second.
        burst: tokens in a full bucket.
        clock: seconds.
    """

    def __init__(
        self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left at a time
        self._lock = threading.Lock()

    def wait_seconds(self, key: str) -> float:
        """Take a token and return 0, or return how long to wait for one."""
        now = self._clock()
        with self._lock:
            if len(self._buckets) >= MAX_KEYS:
                self._forget_full(now)
            left = self._left(key, now)
            if left < 1.0:
                return (1.0 - left) / self._rate
            self._buckets[key] = (left - 1.0, now)
            return 0.0

    def _left(self, key: str, now: float) -> float:
        tokens, then = self._buckets.get(key, (self._burst, now))
        return min(self._burst, tokens + (now - then) * self._rate)

    def _forget_full(self, now: float) -> None:
        """Forget who waited long enough to have a full bucket again."""
        for key in [key for key in self._buckets if self._left(key, now) >= self._burst]:
            del self._buckets[key]
