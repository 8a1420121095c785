"""How far a run goes on while answers are awaited."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PatienceConfig:
    """Limits on running ahead of a teacher who answers later, such as people.

    A teacher who answers at once leaves nothing open, so that none of this touches it. The numbers
    are ours: no paper trains with people who answer while the run goes on.

    Attributes:
        max_open: queries that may be open. A session that would leave more of them waits for
            answers first, and the run with it; a session larger than this waits until none is open.
        max_steps: environment steps since labels last entered the reward, while queries are open;
            then the run waits. None for the schedule's interval: a run is then never much more than
            one session ahead of its people.
        labels_per_session: labels that have come in since the last session and are enough for one
            in between. When no query is open, fewer are enough.
        poll_every: environment steps between two looks for answers.
        poll_seconds: time between two looks while the run waits.
    """

    max_open: int = 200
    max_steps: int | None = None
    labels_per_session: int = 10
    poll_every: int = 500
    poll_seconds: float = 0.5

    def __post_init__(self) -> None:
        for name in ("max_open", "labels_per_session", "poll_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1 or None, got {self.max_steps}")
        if self.poll_seconds <= 0:
            raise ValueError(f"poll_seconds must be positive, got {self.poll_seconds}")


class Patience:
    """Counts what is open and says when to wait.

    Args:
        config: the limits.
        max_steps: where the configuration leaves it open.
    """

    def __init__(self, config: PatienceConfig, max_steps: int) -> None:
        self.config = config
        self.max_steps = config.max_steps or max_steps
        self.num_owed = 0  # queries of sessions that are due and not held yet
        self.num_open = 0
        self.num_fresh = 0  # labels that no session has learned from
        self.step = 0  # at which something happened last
        self._since: int | None = None  # step since which queries are open without a session

    @property
    def lets_ask(self) -> bool:
        """Whether the queries owed may be asked now."""
        fits = self.num_open + self.num_owed <= self.config.max_open
        return self.num_owed > 0 and (fits or self.num_open == 0)

    @property
    def is_enough(self) -> bool:
        """Whether the labels that came in are enough for a session of their own."""
        enough = self.config.labels_per_session if self.num_open else 1
        return self.num_fresh >= enough

    def looks(self, step: int, stride: int) -> bool:
        """Return whether to look for answers now; always while the run stands still."""
        every = self.config.poll_every
        return stride == 0 or step // every != (step - stride) // every

    def is_over(self, step: int) -> bool:
        """Return whether the run should wait before it takes another step.

        A session that may be held and is not waits for longer episodes, which further steps bring.
        """
        if self.num_open == 0:
            return False
        is_late = self._since is not None and step - self._since >= self.max_steps
        return is_late or (self.num_owed > 0 and not self.lets_ask)

    def note(self, step: int, num_open: int, *, num_new: int = 0, learned: bool = False) -> None:
        """Count what happened.

        Args:
            step: environment steps so far.
            num_open: queries without an answer.
            num_new: labels that came in.
            learned: whether all labels so far have entered the reward.
        """
        self.num_fresh = 0 if learned else self.num_fresh + num_new
        if num_open == 0:
            self._since = None
        elif learned or self._since is None:
            self._since = step
        self.num_open, self.step = num_open, step

    def state_dict(self) -> dict[str, int | None]:
        """Return what a resumed run needs."""
        return {
            "num_owed": self.num_owed,
            "num_fresh": self.num_fresh,
            "step": self.step,
            "since": self._since,
        }

    def load_state_dict(self, state: dict[str, int | None], num_open: int) -> None:
        """Restore what `state_dict` returned."""
        self.num_owed, self.num_fresh = int(state["num_owed"] or 0), int(state["num_fresh"] or 0)
        self.step, self._since = int(state["step"] or 0), state["since"]
        self.num_open = num_open
