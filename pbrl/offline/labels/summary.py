"""What a file of labels holds, in numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pbrl.feedback import TIE
from pbrl.offline.labels.agreement import Agreement, Share, agree, oriented, wilson
from pbrl.offline.labels.table import LabelTable

MAX_ANNOTATORS = 8  # of whom every two are compared: those with the most answers


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Answers of one annotator or of all.

    Attributes:
        answers: refusals included.
        first, second: answers that prefer the first or the second segment.
        ties: answers of exactly 0.5.
        skipped: refusals.
        second_share: share of the second segment among the preferences; far from one half, the side
            on which a segment was shown mattered.
    """

    answers: int
    first: int
    second: int
    ties: int
    skipped: int
    second_share: Share


@dataclass(frozen=True, kw_only=True)
class LabelSummary:
    """What a table of labels holds.

    Attributes:
        total: of all annotators.
        by_annotator: of each, by name, in the order of their first answers.
        pending: queries that nobody answered.
        segments: distinct segments.
        pairs: distinct pairs, in either order.
        same_segment: answers to pairs of a segment with itself.
        repeated: answers to pairs that the same annotator had answered before.
        consistency: share of those in which the answer was the first one's, both being preferences.
        between: agreement of every two annotators who labelled common pairs.
        notes: what the file says of its labels.
    """

    total: Counts
    by_annotator: dict[str, Counts]
    pending: int
    segments: int
    pairs: int
    same_segment: int
    repeated: int
    consistency: Share
    between: dict[str, Agreement]
    notes: tuple[str, ...] = ()


def summarize(table: LabelTable) -> LabelSummary:
    """Return what a table of labels holds."""
    who = np.array(table.annotators, dtype=object)
    names = list(dict.fromkeys(table.annotators))
    pairs, turned = oriented(table)
    labels = np.where(turned, 1 - table.labels, table.labels)
    repeated, same, compared = _repeats(pairs, labels, who)
    segments = np.concatenate([table.segments[:, 0], table.segments[:, 1]])
    return LabelSummary(
        total=_count(table.labels),
        by_annotator={name: _count(table.labels[who == name]) for name in names},
        pending=table.num_pending,
        segments=len(np.unique(segments, axis=0)),
        pairs=len(np.unique(pairs, axis=0)),
        same_segment=int((table.segments[:, 0] == table.segments[:, 1]).all(1).sum()),
        repeated=repeated,
        consistency=wilson(same, compared),
        between=dict(_between(table, who, names)),
        notes=table.notes,
    )


def _count(labels: np.ndarray) -> Counts:
    first, second = int((labels < TIE).sum()), int((labels > TIE).sum())
    return Counts(
        answers=len(labels),
        first=first,
        second=second,
        ties=int((labels == TIE).sum()),
        skipped=int(np.isnan(labels).sum()),
        second_share=wilson(second, first + second),
    )


def _repeats(pairs: np.ndarray, labels: np.ndarray, who: np.ndarray) -> tuple[int, int, int]:
    """Return how many answers repeat a question, how many of them agree, and how many could."""
    _, annotator = np.unique(who.astype(str), return_inverse=True)
    keys = np.column_stack([annotator, pairs])
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    before = first[group.reshape(-1)]  # the answer in which the annotator first judged the pair
    is_repeat = before != np.arange(len(labels))
    side, side_before = np.sign(labels - TIE), np.sign(labels[before] - TIE)
    with np.errstate(invalid="ignore"):
        compared = is_repeat & (np.abs(side) == 1) & (np.abs(side_before) == 1)
    return int(is_repeat.sum()), int((side == side_before)[compared].sum()), int(compared.sum())


def _between(
    table: LabelTable, who: np.ndarray, names: list[str]
) -> Iterator[tuple[str, Agreement]]:
    """Yield the agreement of every two of the most diligent annotators with common pairs."""
    diligent = sorted(names, key=lambda name: -int((who == name).sum()))[:MAX_ANNOTATORS]
    parts = {name: select(table, who == name) for name in diligent}
    for one, other in combinations(diligent, 2):
        agreement = agree(parts[one], parts[other])
        if agreement.common:
            yield f"{one} and {other}", agreement


def select(table: LabelTable, rows: np.ndarray) -> LabelTable:
    """Return some rows of a table, given by a mask or by position."""
    chosen = np.arange(len(table))[rows]
    return LabelTable(
        segments=table.segments[chosen],
        named_by=table.named_by,
        labels=table.labels[chosen],
        weights=table.weights[chosen],
        annotators=tuple(table.annotators[row] for row in chosen),
        source=table.source,
        dataset=table.dataset,
        times=None if table.times is None else table.times[chosen],
        notes=table.notes,
    )
