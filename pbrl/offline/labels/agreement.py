"""How far two sets of labels agree, with intervals."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float, Int

from pbrl.feedback import TIE
from pbrl.offline.labels.table import LabelTable

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of so many cases with its Wilson interval; all NaN where there are no cases."""

    value: float
    low: float
    high: float
    cases: int


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two sets of labels agree on the pairs that both labelled.

    Attributes:
        common: answers of the first set to pairs that the second labelled as well.
        decided: those in which neither found a tie.
        agreement: share of the decided ones in which both prefer the same segment.
        kappa: Cohen's kappa of the decided ones: 0 is chance, given how often each prefers the
            first segment.
        kappa_with_ties: the same over all common ones, a tie being a third answer.
    """

    common: int
    decided: int
    agreement: Share
    kappa: float
    kappa_with_ties: float


def wilson(successes: int, cases: int, confidence: float = CONFIDENCE) -> Share:
    """Return a share with its Wilson score interval (Wilson 1927).

    Raises:
        ValueError: if there are more successes than cases or the confidence is not in (0, 1).
    """
    if not (0 <= successes <= cases and 0 < confidence < 1):
        raise ValueError(
            f"successes must lie in 0 to cases and confidence in (0, 1), got {successes} of "
            f"{cases} and {confidence}"
        )
    if cases == 0:
        return Share(value=math.nan, low=math.nan, high=math.nan, cases=0)
    share, z = successes / cases, NormalDist().inv_cdf((1 + confidence) / 2)
    shrink = 1 / (1 + z**2 / cases)
    center = shrink * (share + z**2 / (2 * cases))
    half = shrink * z * math.sqrt(share * (1 - share) / cases + z**2 / (4 * cases**2))
    # Rounding may push a bound at 0 or 1 past the share itself.
    low, high = min(share, max(0.0, center - half)), max(share, min(1.0, center + half))
    return Share(value=share, low=low, high=high, cases=cases)


def cohen_kappa(counts: Int[np.ndarray, "answer answer"]) -> float:
    """Return Cohen's kappa of a table of counts, NaN where chance alone explains everything.

    (p_o - p_e) / (1 - p_e) with p_o the share on the diagonal and p_e the share expected there from
    the margins (Cohen 1960).
    """
    total = counts.sum()
    if total == 0:
        return math.nan
    observed = float(np.trace(counts)) / total
    expected = float(counts.sum(0) @ counts.sum(1)) / total**2
    return float((observed - expected) / (1 - expected)) if expected < 1 else math.nan


def agree(table: LabelTable, other: LabelTable) -> Agreement:
    """Return how far the answers of one table agree with those of another on the same pairs.

    Pairs are matched by their segments, never by row, and in either order: the label of a pair that
    the other file shows the other way round is turned round. Where the other table has several
    answers to a pair, their mean counts; refusals count nowhere.

    Raises:
        ValueError: if the tables name segments in different ways.
    """
    _check_same_names(table, other)
    ours, theirs = _matched(table, other)
    # The sign of a label: the first preferred, a tie, the second preferred.
    sides = np.sign(np.stack([ours, theirs]) - TIE).astype(np.int64) + 1
    counts = np.zeros((3, 3), np.int64)
    np.add.at(counts, tuple(sides), 1)
    decided = counts[::2, ::2]
    return Agreement(
        common=int(counts.sum()),
        decided=int(decided.sum()),
        agreement=wilson(int(np.trace(decided)), int(decided.sum())),
        kappa=cohen_kappa(decided),
        kappa_with_ties=cohen_kappa(counts),
    )


def oriented(
    table: LabelTable,
) -> tuple[Int[np.ndarray, "answer names"], Bool[np.ndarray, " answer"]]:
    """Return every pair with its lesser segment first, and which pairs were turned round for it."""
    first, second = table.segments[:, 0], table.segments[:, 1]
    # Compared column by column: the first column in which the two differ decides.
    column = (first != second).argmax(1)[:, None]
    turned = np.take_along_axis(first, column, 1) > np.take_along_axis(second, column, 1)
    pairs = np.where(turned, np.hstack([second, first]), np.hstack([first, second]))
    return pairs, turned[:, 0]


def _matched(
    table: LabelTable, other: LabelTable
) -> tuple[Float[np.ndarray, " common"], Float[np.ndarray, " common"]]:
    """Return the labels of the answers to common pairs, and the other table's mean for each.

    Both say how likely the segment is preferred that `table` shows as the second one.
    """
    given, other_given = ~np.isnan(table.labels), ~np.isnan(other.labels)
    (pairs, turned), (other_pairs, other_turned) = oriented(table), oriented(other)
    other_labels = np.where(other_turned, 1 - other.labels, other.labels)[other_given]
    both = np.concatenate([pairs[given], other_pairs[other_given]])
    distinct, number = np.unique(both, axis=0, return_inverse=True)
    ours, theirs = np.split(number.reshape(-1), [int(given.sum())])
    counts = np.bincount(theirs, minlength=len(distinct))
    sums = np.bincount(theirs, other_labels, minlength=len(distinct))
    is_common = counts[ours] > 0
    places = ours[is_common]
    means = sums[places] / counts[places]
    return (
        table.labels[given][is_common],
        np.where(turned[given][is_common], 1 - means, means),
    )


def _check_same_names(table: LabelTable, other: LabelTable) -> None:
    if table.named_by != other.named_by:
        # Rows become episodes, and what names either becomes a file that holds its segments.
        last = "content" if "content" in (table.named_by, other.named_by) else "episodes"
        strange = other if table.named_by == last else table
        verb, new = ("export", "PAIRS.npz") if last == "content" else ("import", "NEW.npz")
        raise ValueError(
            f"{table.source} names segments by {table.named_by} and {other.source} by "
            f"{other.named_by}, which cannot be compared. `pbrl label {verb} {strange.source} "
            f"{new} --dataset DATASET`, with the dataset that it labels, makes {new}, which can"
        )
    if table.dataset and other.dataset and table.dataset != other.dataset:
        raise ValueError(
            f"{table.source} labels {table.dataset} and {other.source} labels {other.dataset}"
        )
    if table.identity and other.identity and table.identity.checksum != other.identity.checksum:
        raise ValueError(
            f"{table.source} is of {table.identity} and {other.source} of {other.identity}: labels "
            "of two datasets have no pairs in common. If one dataset is the other with episodes "
            "added since, write both down as its labels: `pbrl label import FILE NEW.npz --dataset "
            "DATASET`"
        )
