"""Learning curves from records, readable in print, the same bytes from the same records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, NullFormatter

from pbrl.training.result import RATES, Result
from pbrl.training.statistics import Statistic, bootstrap_band, interquartile_mean, mean

Against = Literal["steps", "labels"]

ORACLES = ("sac", "iql", "dt", "qt")  # agents that learn from true reward, online and offline
STATISTICS: dict[str, Statistic] = {"mean": mean, "iqm": interquartile_mean}

# Okabe and Ito's colours, told apart by the colour-blind; line styles tell them apart in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINE_STYLES = ("-", "--", "-.", (0, (2, 1)), (0, (5, 1, 1, 1, 1, 1)))
_REFERENCE = (0, (1, 3))
_NUM_LOOKS = len(_COLOURS) * len(_LINE_STYLES)  # 7 and 5 have no common divisor
_SQUEEZED = 4.0  # a line so many times shorter than another is not readable beside it
_PANEL_INCHES = (4.2, 3.0)
_MAX_COLUMNS = 3
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "svg.hashsalt": "pbrl",  # identifiers in the file are random otherwise
}

Curve = tuple[Float[np.ndarray, " _"], Float[np.ndarray, " _"]]


def learning_curves(
    results: Sequence[Result],
    rng: np.random.Generator,
    *,
    against: Against = "steps",
    statistic: str = "iqm",
) -> Figure:
    """Return a figure with one panel per environment or dataset and one line per method.

    A line is the mean or the interquartile mean over a method's runs, the band around it the 95 %
    bootstrap interval; a single run has none. Between evaluations runs are interpolated, and a line
    goes no further than all of its runs. Dotted lines are the mean scores of the random policy and
    of the agent on true reward.

    Args:
        results: records of runs; controls are lines of their own.
        rng: draws the bootstrap resamples.
        against: what runs along: environment steps, offline updates, or labels asked. Against
            labels, a run stands for its last evaluation with so many labels, and runs that ask none
            are left out.
        statistic: `mean` or `iqm`.

    Raises:
        ValueError: if there is nothing to draw or the statistic is unknown.
    """
    if statistic not in STATISTICS:
        raise ValueError(f"statistic must be one of {', '.join(STATISTICS)}, got {statistic!r}")
    drawn = [result for result in results if against == "steps" or result.labels_asked > 0]
    if not drawn:
        raise ValueError(f"there is no run to draw against {against}")
    tasks = list(dict.fromkeys(result.task for result in drawn))
    methods = list(dict.fromkeys(method_name(result) for result in results))
    columns = min(len(tasks), _MAX_COLUMNS)
    rows = -(-len(tasks) // columns)
    with matplotlib.rc_context(_STYLE):
        width, height = _PANEL_INCHES
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        looks = _looks(methods, {(run.task, method_name(run)) for run in drawn})
        for panel, task in zip(panels, tasks, strict=False):
            _draw_panel(panel, [result for result in results if result.task == task], against)
            shown = [run for run in drawn if run.task == task]
            for method in methods:
                runs = [run for run in shown if method_name(run) == method]
                if runs:
                    _draw_line(panel, looks[method], runs, rng, against, STATISTICS[statistic])
            if _squeezes(shown, against):
                panel.set_xscale("log")
                panel.xaxis.set_major_formatter(EngFormatter(sep=""))
                panel.xaxis.set_minor_formatter(NullFormatter())
        for panel in panels[len(tasks) :]:
            panel.set_axis_off()
        named = {
            name: line
            for panel in panels
            for line, name in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        _add_legend(figure, named, 2 * columns)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, PNG or PDF by the ending of `path`, without date or program name.

    Raises:
        ValueError: if the ending is none of these.
    """
    metadata = {".svg": {"Date": None}, ".png": {"Software": None}, ".pdf": {"CreationDate": None}}
    if path.suffix not in metadata:
        raise ValueError(f"a figure ends in {', '.join(metadata)}, got {path.name!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        figure.savefig(path, dpi=150, metadata=metadata[path.suffix])


def method_name(result: Result) -> str:
    """Return the agent's name, with the control it ran under if any."""
    return result.agent if result.control == "none" else f"{result.agent}, {result.control}"


def oracle_scores(results: Sequence[Result]) -> list[float]:
    """Return what is known of the score on true reward: in the records, or as runs of their own."""
    noted = [result.oracle_score for result in results if result.oracle_score is not None]
    return noted or [run.score for run in results if method_name(run) in ORACLES]


def _add_legend(figure: Figure, named: Mapping[str, Artist], most_columns: int) -> None:
    """Put the names below the panels, in as many columns as fit beside each other."""
    for columns in range(most_columns, 0, -1):
        legend = figure.legend(
            named.values(), named.keys(), loc="outside lower center", ncols=columns
        )
        figure.draw_without_rendering()
        if legend.get_window_extent().width <= figure.bbox.width or columns == 1:
            return
        legend.remove()


def _draw_panel(panel: Axes, results: Sequence[Result], against: Against) -> None:
    """Write the title and the axes and draw the two reference lines."""
    panel.set_title(results[0].task)
    steps = "updates" if results[0].dataset else "environment steps"
    panel.set_xlabel(steps if against == "steps" else "labels asked")
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    if results[0].score_name in RATES:
        panel.set_ylabel(RATES[results[0].score_name])
        panel.set_ylim(-0.03, 1.03)
    else:
        panel.set_ylabel(f"true {results[0].score_name.replace('_', ' ')}")
    random_scores = [run.random_score for run in results if run.random_score is not None]
    # A run on true reward has a line of its own against steps.
    is_drawn = against == "steps" and any(method_name(run) in ORACLES for run in results)
    oracle = [] if is_drawn else oracle_scores(results)
    for name, scores, shade in (("random", random_scores, "0.6"), ("true reward", oracle, "0.2")):
        if scores:
            panel.axhline(float(np.mean(scores)), color=shade, ls=_REFERENCE, label=name, zorder=1)


def _looks(methods: Sequence[str], drawn: set[tuple[str, str]]) -> dict[str, int]:
    """Return the place of each method among colours and line styles.

    No two methods have one look, and as far as there are colours no two of a panel have one colour.
    """
    looks: dict[str, int] = {}
    for method in methods:
        panels = {task for task, name in drawn if name == method}
        beside = {name for task, name in drawn if task in panels}
        taken = {looks[name] % len(_COLOURS) for name in beside & looks.keys()}
        free = [place for place in range(_NUM_LOOKS) if place not in looks.values()]
        other = [place for place in free if place % len(_COLOURS) not in taken]
        looks[method] = (other or free or [len(looks)])[0]
    return looks


def _squeezes(runs: Sequence[Result], against: Against) -> bool:
    """Return whether some lines of a panel would be too short to read beside the longest one."""
    places = [curve(run, against)[0] for run in runs]
    ends = [place[-1] for place in places]
    starts = [place[0] for place in places]
    return bool(min(starts) > 0 and max(ends) > _SQUEEZED * min(ends))


def _draw_line(  # noqa: PLR0913
    panel: Axes,
    place: int,
    runs: Sequence[Result],
    rng: np.random.Generator,
    against: Against,
    statistic: Statistic,
) -> None:
    grid, curves = align([curve(run, against) for run in runs])
    colour, style = _COLOURS[place % len(_COLOURS)], _LINE_STYLES[place % len(_LINE_STYLES)]
    marker = "o" if len(grid) == 1 else None
    band = bootstrap_band(curves, statistic, rng)
    panel.plot(
        grid, band.estimate, color=colour, ls=style, marker=marker, label=method_name(runs[0])
    )
    if len(runs) > 1:
        panel.fill_between(grid, band.low, band.high, color=colour, alpha=0.18, linewidth=0)


def curve(result: Result, against: Against) -> Curve:
    """Return where a run was evaluated, in steps or labels, increasing, and its scores there."""
    points = {
        (step if against == "steps" else labels): score for step, score, labels in result.curve
    }
    places = sorted(points)
    return np.array(places, float), np.array([points[place] for place in places])


def align(
    curves: Sequence[Curve],
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, "run point"]]:
    """Return curves on the points that any of them has and all of them cover, interpolated."""
    first = max(places[0] for places, _ in curves)
    last = min(places[-1] for places, _ in curves)
    grid = np.unique(np.concatenate([places for places, _ in curves]))
    grid = grid[(grid >= first) & (grid <= last)]
    if not len(grid):  # runs that never overlap: show where each ended
        grid = np.array([last])
    return grid, np.stack([np.interp(grid, places, scores) for places, scores in curves])
