"""When to ask for feedback and how much, within a budget."""

import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

ScheduleName = Literal["constant", "decreasing", "increasing", "exponential"]


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Feedback sessions of a run; defaults are walker-walk with 500 labels (B-Pref scripts).

    Attributes:
        kind: how the sessions change with time. "constant": `session_size` queries every
            `interval` steps. "decreasing" and "increasing": likewise, the size multiplied by
            (T - t) / T or by T / (T - t + 1) at step t of T (B-Pref). "exponential": sessions of
            `session_size` whose distance grows by a factor exp(rate) each (CleanRLHF).
        budget: queries in the whole run; skipped queries count.
        session_size: queries of a session, the base B of the changing kinds.
        first_step: environment step of the first session, the end of pre-training.
        interval: steps between sessions; "exponential" does not use it.
        total_steps: T, environment steps of the run; no session is held at or after it.
        rate: lambda > 0 of "exponential"; larger holds more of the sessions early.
    """

    kind: ScheduleName = "constant"
    budget: int = 500
    session_size: int = 50
    first_step: int = 10_000
    interval: int = 20_000
    total_steps: int = 500_000
    rate: float = 0.1

    def __post_init__(self) -> None:
        if self.kind not in get_args(ScheduleName):
            raise ValueError(f"kind must be one of {get_args(ScheduleName)}, got {self.kind!r}")
        for name in ("budget", "session_size", "interval", "total_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 < self.rate < math.inf:
            raise ValueError(f"rate must be positive and finite, got {self.rate}")
        if self.budget < self.session_size:
            raise ValueError(
                f"a budget of {self.budget} queries is smaller than one session of "
                f"{self.session_size}: raise budget (--preferences.schedule.budget) or lower "
                f"session_size (--preferences.schedule.session-size) to at most {self.budget}"
            )
        if not 0 <= self.first_step < self.total_steps:
            raise ValueError(
                f"first_step must lie in [0, total_steps), got {self.first_step} of "
                f"{self.total_steps} steps: no session would be held; "
                "raise total_steps (--steps) or lower first_step "
                "(--preferences.schedule.first-step)"
            )


class Session(NamedTuple):
    """One round of asking."""

    step: int
    size: int


class FeedbackSchedule:
    """Says at every step of a run how many queries to ask now.

    It keeps no state: a resumed run asks it with the step and the number of queries asked so far.

    Args:
        config: the schedule.

    Raises:
        ValueError: if every session would be empty, as when "decreasing" scales a session of one
            query down to none.
    """

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config
        exponential = config.kind == "exponential"
        self._sessions = _exponential_sessions(config) if exponential else _even_sessions(config)
        if not self._sessions:
            raise ValueError(
                f"schedule {config.kind!r} rounds every session of {config.session_size} down to "
                "no query: raise session_size (--preferences.schedule.session-size)"
            )
        self._steps = [session.step for session in self._sessions]

    def session_size(self, step: int, num_asked: int, stride: int = 1) -> int:
        """Return how many queries to ask now, 0 when no session is due.

        Args:
            step: environment steps taken so far.
            num_asked: queries asked so far, the skipped ones included.
            stride: steps taken since the last call, for instance the number of environments; a
                session planned for any of them is due now.
        """
        first, last = bisect_right(self._steps, step - stride), bisect_right(self._steps, step)
        planned = sum(session.size for session in self._sessions[first:last])
        return max(0, min(planned, self.config.budget - num_asked))

    def plan(self) -> list[Session]:
        """Return the sessions of a run that holds each of them in full, the last one clipped.

        Their sizes add up to the budget, or to less when the run ends before it is spent.
        """
        sessions, asked = [], 0
        for step, _ in self._sessions:
            size = self.session_size(step, asked)
            if size > 0:
                sessions.append(Session(step, size))
            asked += size
        return sessions


def _even_sessions(config: ScheduleConfig) -> list[Session]:
    total = config.total_steps
    sessions = []
    for step in range(config.first_step, total, config.interval):
        match config.kind:
            case "decreasing":
                fraction = (total - step) / total
            case "increasing":
                fraction = total / (total - step + 1)
            case _:
                fraction = 1.0
        # the official arithmetic, floating point included: 50 * 0.58 gives 28
        sessions.append(Session(step, int(config.session_size * fraction)))
    return [session for session in sessions if session.size > 0]


def _exponential_sessions(config: ScheduleConfig) -> list[Session]:
    """Session i = 1..n-1 at T (e^(rate i) - 1) / (e^(rate n) - 1), n the number of sessions + 1.

    Two departures from CleanRLHF: the first session is held at `first_step`, because until then
    there is no reward to learn from; sessions that would come earlier join it, their queries too.
    """
    number = math.ceil(config.budget / config.session_size)
    sizes: Counter[int] = Counter()
    for i in range(1, number + 1):
        # expm1(rate i) / expm1(rate n) without overflow for many sessions
        fraction = math.exp(config.rate * (i - number - 1)) * (
            math.expm1(-config.rate * i) / math.expm1(-config.rate * (number + 1))
        )
        step = max(config.first_step, int(config.total_steps * fraction))
        sizes[config.first_step if i == 1 else step] += config.session_size
    return [Session(step, size) for step, size in sorted(sizes.items())]
