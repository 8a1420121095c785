"""Statistics over few runs: interquartile mean, bootstrap intervals, probability of improvement.

After Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MIN_SEEDS_FOR_RANKING = 10
NUM_RESAMPLES = 2_000
CONFIDENCE = 0.95

Scores = Float[np.ndarray, " _"]  # one per run; tasks may have different numbers of runs
Statistic = Callable[[Float[np.ndarray, "*rest run"]], Float[np.ndarray, "*rest"]]


@dataclass(frozen=True)
class Interval:
    """A statistic and the bounds of its bootstrap interval; arrays when it is one of many."""

    estimate: Float[np.ndarray, "*shape"]
    low: Float[np.ndarray, "*shape"]
    high: Float[np.ndarray, "*shape"]


def mean(scores: Float[np.ndarray, "*rest run"]) -> Float[np.ndarray, "*rest"]:
    """Return the mean over runs, the last axis."""
    return np.asarray(scores.mean(-1))


def interquartile_mean(scores: Float[np.ndarray, "*rest run"]) -> Float[np.ndarray, "*rest"]:
    """Return the mean of the middle half over runs, the last axis.

    A quarter of the runs, rounded down, is left out at each end, as in Agarwal et al.'s own code;
    with fewer than four runs this is the mean.
    """
    num_runs = scores.shape[-1]
    cut = num_runs // 4
    return np.asarray(np.sort(scores, axis=-1)[..., cut : num_runs - cut].mean(-1))


def stratified_bootstrap(
    tasks: Sequence[Scores],
    statistic: Statistic,
    rng: np.random.Generator,
    *,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return a statistic of all runs of all tasks, with its percentile bootstrap interval.

    Runs are drawn with replacement within each task, so that no resample lacks a task.

    Args:
        tasks: scores of each task's runs; tasks may have different numbers of them, and their
            scores should be on one scale.
        statistic: reduces the last axis, such as `interquartile_mean`.
        rng: source of randomness.
        num_resamples: how many.
        confidence: probability mass between the bounds, in (0, 1).

    Raises:
        ValueError: if there are no tasks or one has no runs.
    """
    _check_tasks("tasks", tasks)
    resamples = [
        scores[rng.integers(len(scores), size=(num_resamples, len(scores)))] for scores in tasks
    ]
    drawn = statistic(np.concatenate(resamples, axis=-1))  # [resample]
    return _interval(statistic(np.concatenate(tasks)), drawn, confidence)


def bootstrap_band(
    curves: Float[np.ndarray, "run point"],
    statistic: Statistic,
    rng: np.random.Generator,
    *,
    num_resamples: int = NUM_RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return a statistic over runs at each point of their curves, with its bootstrap band.

    A resample draws whole runs, so that the band respects that a run's points belong together.
    """
    chosen = rng.integers(len(curves), size=(num_resamples, len(curves)))
    drawn = statistic(curves.T[:, chosen])  # [point, resample]
    return _interval(statistic(curves.T), drawn.T, confidence)


def probability_of_improvement(first: Sequence[Scores], second: Sequence[Scores]) -> float:
    """Return the probability that a run of `first` beats one of `second`, ties counting half.

    The mean over tasks of the Mann-Whitney statistic divided by its maximum.

    Args:
        first: scores of each task's runs of one method.
        second: those of another method, the same tasks in the same order.

    Raises:
        ValueError: if the tasks differ in number or one has no runs.
    """
    if len(first) != len(second):
        raise ValueError(f"first has {len(first)} tasks and second {len(second)}")
    _check_tasks("first", first)
    _check_tasks("second", second)
    wins = [
        float((np.sign(ours[:, None] - theirs) / 2 + 0.5).mean())
        for ours, theirs in zip(first, second, strict=True)
    ]
    return sum(wins) / len(wins)


def may_rank(num_seeds: int) -> bool:
    """Return whether there are enough seeds to say that one method is better than another."""
    return num_seeds >= MIN_SEEDS_FOR_RANKING


def ranking_note(num_seeds: int) -> str:
    """Return a sentence for the foot of a table of methods, saying what the seeds allow."""
    if may_rank(num_seeds):
        return f"{num_seeds} seeds per method; intervals that do not overlap order the methods."
    return (
        f"{num_seeds} {'seed' if num_seeds == 1 else 'seeds'} per method: fewer than "
        f"{MIN_SEEDS_FOR_RANKING}, so no method is ranked above another."
    )


def _interval(estimate: np.ndarray, drawn: np.ndarray, confidence: float) -> Interval:
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(drawn, [tail, 1.0 - tail], axis=0)
    return Interval(estimate, np.asarray(low), np.asarray(high))


def _check_tasks(name: str, tasks: Sequence[Scores]) -> None:
    sizes = [len(scores) for scores in tasks]
    if not sizes or min(sizes) == 0:
        raise ValueError(f"{name} must hold at least one run of each task, got {sizes} runs")
