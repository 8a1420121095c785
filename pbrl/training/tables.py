"""Markdown tables made from records."""

from collections.abc import Sequence

import numpy as np

from pbrl.training.plots import ORACLES, method_name, oracle_scores
from pbrl.training.result import RATES, Result
from pbrl.training.reward_recovery import SEGMENT_CORRELATION, STEP_CORRELATION
from pbrl.training.statistics import interquartile_mean, mean, ranking_note, stratified_bootstrap

MAX_ROWS = 12


def suite_table(results: Sequence[Result], rng: np.random.Generator) -> str:
    """Return a markdown table of the methods on each task, with what the seeds allow.

    A score is the mean of a run's last evaluations; shown are the mean and the interquartile mean
    over seeds with the bootstrap interval of the latter, and the mean as a share of the way from
    the random policy to the agent on true reward, where both are known and over the seeds that both
    have.

    Args:
        results: records of runs, of one suite or of several; the task of an offline run is its
            dataset, that of an online run its environment.
        rng: draws the bootstrap resamples.

    Raises:
        ValueError: if there are no records.
    """
    if not results:
        raise ValueError("there are no records to make a table of")
    rows = []
    for task in dict.fromkeys(result.task for result in results):
        runs = [result for result in results if result.task == task]
        for method in dict.fromkeys(method_name(run) for run in runs):
            rows.append(_method_row([run for run in runs if method_name(run) == method], runs, rng))
    kind = "dataset" if any(result.dataset for result in results) else "environment"
    header = [
        kind, "method", "seeds", "steps", "labels", "score", "mean",
        "interquartile mean [95 %]", "random", "true reward", "share",
    ]  # fmt: skip
    evaluations = sorted({result.score_evaluations for result in results})
    counts = " or ".join(str(count) for count in evaluations)
    note = (
        f"Scores are means of the last {counts} evaluations of a run. `share` is the mean score's "
        "place between the random policy (0 %) and the agent on true reward (100 %), over the "
        "seeds that both have. "
        f"{ranking_note(_fewest_seeds(results))}"
    )
    return f"{markdown(header, rows)}\n\n{note}\n"


def run_table(result: Result) -> str:
    """Return a markdown table of a run's evaluations beside the random policy and the oracle.

    At most twelve evaluations are shown, evenly spread, the last among them.
    """
    rate = result.score_name in RATES
    chosen = np.unique(np.linspace(0, len(result.curve) - 1, MAX_ROWS).round().astype(int))
    rows = [
        [
            f"{step:,}", f"{labels:,}", _score(score, rate),
            _score(result.random_score, rate), _score(result.oracle_score, rate),
        ]
        for step, score, labels in (result.curve[place] for place in chosen)
    ]  # fmt: skip
    return markdown(["steps", "labels", f"true {result.score_name}", "random", "true reward"], rows)


def recovery_table(results: Sequence[Result]) -> str:
    """Return a markdown table of how far learned rewards went along with the true one.

    Of each run the mean of its last evaluations, as many as its score is the mean of; shown are the
    mean over seeds and, in parentheses, the lowest.

    Returns:
        The table, empty where no record says anything of it.
    """
    rows = []
    known = [result for result in results if STEP_CORRELATION in result.measures]
    for task in dict.fromkeys(result.task for result in known):
        runs = [result for result in known if result.task == task]
        for method in dict.fromkeys(method_name(run) for run in runs):
            same = [run for run in runs if method_name(run) == method]
            cells = [_measured(same, name) for name in (STEP_CORRELATION, SEGMENT_CORRELATION)]
            rows.append([task, method, str(len(same)), *cells])
    if not rows:
        return ""
    header = ["task", "method", "seeds", "correlation over steps", "over sums of segments"]
    note = (
        "Pearson's correlation of the learned with the true reward, mean over seeds (lowest): "
        "online on segments of the last episodes, offline on the whole dataset."
    )
    return f"{markdown(header, rows)}\n\n{note}\n"


def _measured(runs: Sequence[Result], name: str) -> str:
    last = [
        float(np.mean([value for _, value in run.measures[name][-run.score_evaluations :]]))
        for run in runs
        if run.measures.get(name)
    ]
    return f"{np.mean(last):.2f} ({min(last):.2f})" if last else "–"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table whose source lines up as well."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def _method_row(
    runs: Sequence[Result], all_runs: Sequence[Result], rng: np.random.Generator
) -> list[str]:
    rate = runs[0].score_name in RATES
    scores = np.array([run.score for run in runs])
    interval = stratified_bootstrap([scores], interquartile_mean, rng)
    low, high = (_score(float(bound), rate) for bound in (interval.low, interval.high))
    bounds = f" [{low}, {high}]" if len(runs) > 1 else ""
    random_scores = [run.random_score for run in all_runs if run.random_score is not None]
    random = float(np.mean(random_scores)) if random_scores else None
    paired, oracle_runs = _of_common_seeds(runs, all_runs)
    oracle = float(np.mean(oracle_scores(oracle_runs))) if oracle_scores(oracle_runs) else None
    return [
        runs[0].task,
        method_name(runs[0]),
        str(len(runs)),
        _range([run.steps for run in runs]),
        _range([run.labels_asked for run in runs]),
        runs[0].score_name,
        _score(float(mean(scores)), rate),
        f"{_score(float(interval.estimate), rate)}{bounds}",
        _score(random, rate),
        _score(oracle, rate),
        _share(float(np.mean([run.score for run in paired])), random, oracle),
    ]


def _of_common_seeds(
    runs: Sequence[Result], all_runs: Sequence[Result]
) -> tuple[Sequence[Result], Sequence[Result]]:
    """Return the runs whose seed the agent on true reward has too, and its runs of those seeds.

    Where no seed is common, all of them: a half-finished suite compares what it can.
    """
    own = {run.seed for run in runs}
    common = {run.seed for run in all_runs if method_name(run) in ORACLES} & own
    if not common:
        return runs, all_runs
    return (
        [run for run in runs if run.seed in common],
        [run for run in all_runs if run.seed in common],
    )


def _share(score: float, random: float | None, oracle: float | None) -> str:
    if random is None or oracle is None or oracle <= random:
        return "–"
    return f"{round(100 * (score - random) / (oracle - random))}%"


def _score(value: float | None, is_rate: bool) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if is_rate else f"{value:,.1f}"


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _fewest_seeds(results: Sequence[Result]) -> int:
    groups: dict[tuple[str, str], int] = {}
    for result in results:
        key = (result.task, method_name(result))
        groups[key] = groups.get(key, 0) + 1
    return min(groups.values())
