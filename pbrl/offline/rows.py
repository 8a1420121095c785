"""From the row numbers that label files index to segments of episodes."""

import numpy as np
import torch
from jaxtyping import Int

from pbrl.offline.dataset import RowNumbers
from pbrl.segments import SegmentIndex


def locate_rows(
    rows: RowNumbers, first: Int[np.ndarray, "*shape"], length: Int[np.ndarray, "*shape"]
) -> SegmentIndex:
    """Return the segments that begin in rows `first` and go on for `length` rows.

    Args:
        rows: the numbering that the file indexes; rows of the episode -1 are in no episode.
        first: row of each segment's first step.
        length: number of steps.

    Raises:
        ValueError: if a segment lies outside the numbering or leaves its episode, saying how many
            do and where the first of them lies.
    """
    first, length = first.astype(np.int64), length.astype(np.int64)
    last = first + length - 1
    outside = (first < 0) | (length < 1) | (last >= len(rows))
    if outside.any():
        raise ValueError(
            f"{outside.sum()} of {outside.size} segments lie outside the {len(rows)} rows of the "
            f"dataset; the first begins at row {first[outside][0]} and has {length[outside][0]} "
            "steps"
        )
    # Rows at which something else begins than the step after the row before.
    is_break = (np.diff(rows.episode) != 0) | (np.diff(rows.step) != 1)
    breaks = np.flatnonzero(is_break) + 1
    crosses = np.searchsorted(breaks, first, "right") != np.searchsorted(breaks, last, "right")
    crosses |= rows.episode[first] < 0  # rows that are in no episode at all
    if crosses.any():
        row = first[crosses][0]
        raise ValueError(
            f"{crosses.sum()} of {crosses.size} segments leave their episode; the first begins at "
            f"row {row}, step {rows.step[row]} of episode {rows.episode[row]}, and has "
            f"{length[crosses][0]} steps: is this the dataset that was labelled?"
        )
    return SegmentIndex(
        torch.from_numpy(rows.episode[first].astype(np.int64)),
        torch.from_numpy(rows.step[first].astype(np.int64)),
        torch.from_numpy(length),
    )
