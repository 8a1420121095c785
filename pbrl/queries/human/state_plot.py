"""A segment as a drawing of its numbers, for queries that no simulator can show."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from pbrl.queries.human.recorded import RecordedSegment

MARGIN = 0.04
"""Share of the width left free at each side; pages draw the cursor of the present step by it."""

MAX_LINES = 12
_DPI = 100
_SCALE = 2  # pixels of the drawing for each of a clip's, so that lines stay sharp
_LINE = "#2f6fde"
_ACTION = "#c2571a"
_WORDS: dict[str, Any] = {
    "color": "0.2",
    "fontsize": 14,
    "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 2},
}

Limits = tuple[Float[np.ndarray, " obs"], Float[np.ndarray, " obs"]]


def observation_limits(segments: Iterable[RecordedSegment]) -> Limits:
    """Return the least and the largest of every observed number, over all segments.

    Drawings of one study share them, so that two of its segments can be compared.
    """
    lows, highs = zip(
        *((one.observations.min(0), one.observations.max(0)) for one in segments), strict=True
    )
    return np.min(lows, 0), np.max(highs, 0)


def write_plot(
    path: Path, segment: RecordedSegment, limits: Limits, frame_size: tuple[int, int]
) -> None:
    """Draw a segment's observations and actions against time into a PNG, whole or not at all.

    Up to 12 observed numbers have a line each in a band of their own; more are drawn as a map, one
    row each. Actions have the last band, from -1 to 1.

    Args:
        path: the file.
        segment: what to draw.
        limits: of all segments of the study.
        frame_size: height and width of the study's clips.
    """
    height, width = (side * _SCALE / _DPI for side in frame_size)
    figure = Figure(figsize=(width, height), dpi=_DPI)
    num_observed = segment.observations.shape[1]
    num_bands = num_observed if num_observed <= MAX_LINES else MAX_LINES
    axes = figure.add_axes((MARGIN, 0.28, 1 - 2 * MARGIN, 0.70))
    low, high = limits
    scaled = (segment.observations - low) / np.where(high > low, high - low, 1.0)
    if num_observed <= MAX_LINES:
        steps = np.arange(len(segment))
        for row in range(num_observed):
            axes.axhline(row, color="0.85", linewidth=0.8)
            axes.plot(steps, num_bands - 1 - row + 0.9 * scaled[:, row], color=_LINE)
        axes.set_ylim(-0.1, num_bands)
    else:
        axes.imshow(
            scaled.T, aspect="auto", cmap="viridis", vmin=0, vmax=1, interpolation="nearest"
        )
    actions = figure.add_axes((MARGIN, 0.02, 1 - 2 * MARGIN, 0.24))
    actions.axhline(0, color="0.85", linewidth=0.8)
    actions.plot(segment.actions, color=_ACTION, linewidth=1, alpha=0.8)
    actions.set_ylim(-1.1, 1.1)
    for part, words in ((axes, "observations"), (actions, "actions")):
        part.text(0.01, 0.97, words, transform=part.transAxes, va="top", **_WORDS)
        part.set_xlim(0, max(1, len(segment) - 1))
        part.set_xticks([])
        part.set_yticks([])
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        figure.savefig(partial, format="png")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
