"""How far people agree: Cohen's kappa for two, Krippendorff's alpha for any number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from pbrl.queries.human.aggregation import Votes

Metric = Literal["nominal", "ordinal"]

NUM_RESAMPLES = 1_000
CONFIDENCE = 0.95
ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Coefficient:
    """A coefficient of agreement with a bootstrap interval; NaN where it says nothing.

    Attributes:
        value: 1 for full agreement, 0 for what chance alone brings.
        low, high: bounds of the interval.
        num_items: items with at least two answers, on which it rests.
    """

    value: float
    low: float
    high: float
    num_items: int


def cohen_kappa(
    votes: Votes, rng: np.random.Generator, *, num_resamples: int = NUM_RESAMPLES
) -> Coefficient:
    """Return Cohen's kappa of two annotators on what both answered.

    (p_o - p_e) / (1 - p_e), where p_o is the share of equal answers and p_e the share expected from
    how often each gives each answer (Cohen 1960). Interval: percentiles of a bootstrap over items.

    Raises:
        ValueError: if there are not two annotators.
    """
    if votes.num_annotators != 2:  # noqa: PLR2004
        raise ValueError(f"kappa is of two annotators, got {votes.num_annotators}")
    answers = np.full((votes.num_items, 2), -1)
    answers[votes.items, votes.annotators] = votes.classes
    both = answers[(answers >= 0).all(1)]
    size = votes.num_classes
    tables = np.zeros((len(both), size, size))
    tables[np.arange(len(both)), both[:, 0], both[:, 1]] = 1.0
    return _with_interval(tables, _kappa, rng, num_resamples)


def krippendorff_alpha(
    votes: Votes,
    rng: np.random.Generator,
    *,
    metric: Metric = "nominal",
    num_resamples: int = NUM_RESAMPLES,
) -> Coefficient:
    """Return Krippendorff's alpha, for any number of annotators and missing answers.

    1 - D_o / D_e of the coincidences, with the nominal or the ordinal difference (Krippendorff
    2011, "Computing Krippendorff's alpha-reliability"). Interval: percentiles of a bootstrap over
    items, simpler than his own, which resamples differences.
    """
    counts = votes.counts()
    sizes = counts.sum(-1)
    counts, sizes = counts[sizes > 1], sizes[sizes > 1]
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs -= counts[:, :, None] * np.eye(votes.num_classes)  # nobody pairs with himself
    coincidences = pairs / np.maximum(sizes - 1, 1)[:, None, None]

    def statistic(table: np.ndarray) -> np.ndarray:
        return _alpha(table, metric)

    return _with_interval(coincidences, statistic, rng, num_resamples)


def _with_interval(
    tables: Float[np.ndarray, "item cls cls"],
    statistic: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
    num_resamples: int,
) -> Coefficient:
    """Return a statistic of the summed tables, and its percentiles over resampled items."""
    num_items = len(tables)
    if num_items == 0:
        return Coefficient(value=np.nan, low=np.nan, high=np.nan, num_items=0)
    times = rng.multinomial(num_items, np.full(num_items, 1 / num_items), size=num_resamples)
    drawn = statistic(np.tensordot(times.astype(float), tables, 1))
    drawn = drawn[np.isfinite(drawn)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (np.nan, np.nan)
    return Coefficient(
        value=float(statistic(tables.sum(0))),
        low=float(low),
        high=float(high),
        num_items=num_items,
    )


def _kappa(table: Float[np.ndarray, "*shape cls cls"]) -> np.ndarray:
    total = table.sum((-1, -2))
    observed = np.trace(table, axis1=-2, axis2=-1) / total
    expected = (table.sum(-1) * table.sum(-2)).sum(-1) / total**2
    return _ratio(observed - expected, 1 - expected)


def _alpha(table: Float[np.ndarray, "*shape cls cls"], metric: Metric) -> np.ndarray:
    margin = table.sum(-1)  # [*shape, cls]
    difference = _difference(margin, metric)
    total = margin.sum(-1)
    expected = (margin[..., :, None] * margin[..., None, :] * difference).sum((-1, -2))
    observed = (table * difference).sum((-1, -2)) * (total - 1)
    return _ratio(expected - observed, expected)


def _difference(margin: np.ndarray, metric: Metric) -> np.ndarray:
    """Return the squared difference of any two classes."""
    size = margin.shape[-1]
    if metric == "nominal":
        return np.broadcast_to(1.0 - np.eye(size), (*margin.shape, size))
    # Answers between the two classes, half of those in either included.
    ranks = np.cumsum(margin, -1) - margin / 2
    difference: np.ndarray = (ranks[..., :, None] - ranks[..., None, :]) ** 2
    return difference


def _ratio(above: Any, below: Any) -> np.ndarray:
    """Return above / below, NaN where below is zero but for rounding."""
    above, below = np.asarray(above), np.asarray(below)
    nothing = np.full_like(below, np.nan)
    return np.asarray(np.divide(above, below, out=nothing, where=below > ROUNDING))
