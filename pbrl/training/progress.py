"""A live view of a run in a terminal, a plain line now and then elsewhere."""

import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import TypedDict

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from pbrl.training.result import RATES

_WINDOW = 60.0  # seconds over which the speed is measured
_WHOLE = 10  # a second; below, a speed is shown with decimals
_REDRAW = 0.5  # seconds between two redraws of the live view


class Shown(TypedDict):
    """What `Progress.update` is given."""

    step: int
    labels: int | None
    labels_given: int | None
    reward_accuracy: float | None
    score: float | None
    phase: str | None


class Progress:
    """Shows how far a run is; `update` may be called at every step.

    Args:
        total_steps: steps of the whole run.
        label_budget: labels that may be asked; 0 when the run asks none.
        title: shown above the bar.
        start_step: the step a resumed run goes on from.
        score_name: what the score is, as in a `Result`.
        unit: what a step is called.
        console: where to write; the terminal by default.
        interval: seconds between two lines when the console is not a terminal.
        clock: time in seconds.
    """

    def __init__(  # noqa: PLR0913  keyword-only
        self,
        total_steps: int,
        *,
        label_budget: int = 0,
        title: str = "",
        start_step: int = 0,
        score_name: str = "return",
        unit: str = "steps",
        console: Console | None = None,
        interval: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total_steps
        self._budget = label_budget
        self._title = title
        self._score_name = score_name
        self._unit = unit
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._step = start_step
        self._labels: int | None = None
        self._labels_given: int | None = None
        self._accuracy: float | None = None
        self._score: float | None = None
        self._phase = ""
        self._recent: deque[tuple[float, int]] = deque()  # since the first step, not the first word
        self._is_live = self._console.is_terminal
        self._interval = _REDRAW if self._is_live else interval
        self._next_draw = 0.0
        self._live = Live(console=self._console, auto_refresh=False)

    def update(
        self,
        step: int,
        *,
        labels: int | None = None,
        labels_given: int | None = None,
        reward_accuracy: float | None = None,
        score: float | None = None,
        phase: str | None = None,
    ) -> None:
        """Say where the run is; what is not given stays as it was.

        Args:
            step: steps done.
            labels: labels asked so far.
            labels_given: labels received so far; what was skipped gives none.
            reward_accuracy: of the reward model on its labels, in [0, 1].
            score: the last true return or success rate.
            phase: what the run is doing, in a word or two.
        """
        self._step = step
        self._labels = self._labels if labels is None else labels
        self._labels_given = self._labels_given if labels_given is None else labels_given
        self._accuracy = self._accuracy if reward_accuracy is None else reward_accuracy
        self._score = self._score if score is None else score
        self._phase = self._phase if phase is None else phase
        now = self._clock()
        if now >= self._next_draw:
            self._draw(now)

    def note(self, message: str) -> None:
        """Print a line above the bar."""
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)

    def line(self) -> str:
        """Return the state of the run in one line."""
        return "  ".join(f"{name} {value}" for name, value in self._fields())

    def steps_per_second(self) -> float:
        """Return the speed over the last minute; 0 before it is known."""
        if not self._recent:
            return 0.0
        (first_time, first_step), (last_time, last_step) = self._recent[0], self._recent[-1]
        elapsed = last_time - first_time
        return (last_step - first_step) / elapsed if elapsed > 0 else 0.0

    def _draw(self, now: float) -> None:
        self._next_draw = now + self._interval
        self._recent.append((now, self._step))
        while len(self._recent) > 2 and now - self._recent[0][0] > _WINDOW:  # noqa: PLR2004
            self._recent.popleft()
        if self._is_live:
            self._live.update(self._view(), refresh=True)
        else:
            self.note(self.line())

    def _fields(self) -> list[tuple[str, str]]:
        speed = self.steps_per_second()
        fields = [(self._unit, f"{self._step:,}/{self._total:,}")]
        if speed > 0:
            left = timedelta(seconds=round(max(0, self._total - self._step) / speed))
            shown = f"{speed:,.0f}" if speed >= _WHOLE else f"{speed:.2g}"
            fields += [(f"{self._unit}/s", shown), ("left", str(left))]
        if self._labels is not None and self._budget:
            given = "" if self._labels_given is None else f" asked, {self._labels_given:,} given"
            fields.append(("labels", f"{self._labels:,}/{self._budget:,}{given}"))
        if self._accuracy is not None:
            fields.append(("reward accuracy", f"{self._accuracy:.0%}"))
        if self._score is not None:
            is_rate = self._score_name in RATES
            fields.append(
                (self._score_name, f"{self._score:.0%}" if is_rate else f"{self._score:,.1f}")
            )
        if self._phase:
            fields.append(("", self._phase))
        return fields

    def _view(self) -> Table:
        view = Table.grid(padding=(0, 2))
        if self._title:
            view.add_row(self._title)
        view.add_row(ProgressBar(total=self._total, completed=self._step, width=60))
        view.add_row(self.line())
        return view

    def __enter__(self) -> "Progress":
        if self._is_live:
            self._live.start()
        elif self._title:
            self.note(self._title)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._draw(self._clock())
        if self._is_live:
            self._live.stop()
