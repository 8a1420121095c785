"""How the owner's page shows a run: its learning curve, and what it waits for."""

from collections.abc import Sequence
from dataclasses import dataclass

from pbrl.queries.human.live_runs import LiveRun

WIDTH, HEIGHT = 640, 180
SILENT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """An evaluation in the picture.

    Attributes:
        x, y: place in pixels, y downwards.
        title: what it says in words.
    """

    x: float
    y: float
    title: str


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as the owner sees it.

    Attributes:
        run: how it stood last.
        state: in words.
        is_waiting: whether it needs answers to go on.
        share: of its steps that are done, in percent.
        points: of the curve, from left to right.
        lowest, highest: scores at the lower and upper edge of the picture.
    """

    run: LiveRun
    state: str
    is_waiting: bool
    share: int
    points: tuple[CurvePoint, ...]
    lowest: float
    highest: float

    @property
    def line(self) -> str:
        """The curve as an SVG polyline takes it."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


def run_view(run: LiveRun, now: float) -> RunView:
    """Return what to show of a run.

    Args:
        run: how it stood last.
        now: seconds since 1970.
    """
    status = run.status
    scores = [score for _, score, _ in status.curve] or [0.0]
    lowest, highest = min(scores), max(scores)
    return RunView(
        run=run,
        state=_state(run, now),
        is_waiting=status.phase.startswith("waiting") and not status.is_over,
        share=round(100 * min(1.0, status.step / max(1, status.steps))),
        points=_points(status.curve, status.steps, lowest, highest),
        lowest=lowest,
        highest=highest,
    )


def _state(run: LiveRun, now: float) -> str:
    if run.status.is_over:
        return "has ended"
    silent = now - run.updated_at
    heard = f"; not heard of for {silent / 60:.0f} min" if silent > SILENT_SECONDS else ""
    return (run.status.phase or "learning") + heard


def _points(
    curve: Sequence[tuple[int, float, int]], steps: int, lowest: float, highest: float
) -> tuple[CurvePoint, ...]:
    span = highest - lowest or 1.0
    return tuple(
        CurvePoint(
            x=WIDTH * step / max(1, steps),
            y=HEIGHT * (1 - (score - lowest) / span),
            title=f"step {step:,}: {score:,.2f} after {labels:,} queries",
        )
        for step, score, labels in curve
    )
