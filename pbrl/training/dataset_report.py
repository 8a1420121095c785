"""A dataset described: tables as text, a figure of its returns, and a record."""

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.report import (
    Coverage,
    DatasetSummary,
    Duplicates,
    Fit,
    Spread,
    count_duplicates,
    cover,
    suitability,
    summarize,
)
from pbrl.offline.report.summary import PERCENTILES
from pbrl.offline.steps import dataset_steps
from pbrl.training.policy_report import PolicyReport, policy_rows
from pbrl.training.tables import markdown

NUM_BINS = 20
_PANEL_INCHES = (4.2, 3.0)
_COLOUR = "#0072B2"


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    """What is said of a dataset.

    Attributes:
        name: of the dataset.
        family: where it comes from.
        env: environment to evaluate in, or None.
        checksum: of its content.
        metadata: what the source says about itself.
        summary: of its episodes.
        histogram: edges of equal ranges of returns, and how many episodes lie in each.
        coverage: of states and actions.
        duplicates: what is there twice.
        fits: which methods it suits.
        policies: what policies are worth on it.
    """

    name: str
    family: str
    env: str | None
    checksum: str
    metadata: dict[str, str]
    summary: DatasetSummary
    histogram: tuple[tuple[float, ...], tuple[int, ...]]
    coverage: Coverage
    duplicates: Duplicates
    fits: tuple[Fit, ...]
    policies: tuple[PolicyReport, ...] = ()


def report_dataset(
    dataset: OfflineDataset, policies: tuple[PolicyReport, ...] = ()
) -> DatasetReport:
    """Return what is to be said of a dataset."""
    steps = dataset_steps(dataset.replay)
    summary, coverage = summarize(dataset), cover(steps)
    counts, edges = np.histogram(steps.returns().cpu().numpy(), NUM_BINS)
    info = dataset.info
    return DatasetReport(
        name=info.name,
        family=info.family,
        env=info.env,
        checksum=info.checksum,
        metadata=dict(info.metadata),
        summary=summary,
        histogram=(tuple(edges.tolist()), tuple(counts.tolist())),
        coverage=coverage,
        duplicates=count_duplicates(steps),
        fits=suitability(dataset, summary, coverage),
        policies=policies,
    )


def report_text(report: DatasetReport) -> str:
    """Return the report as headings and markdown tables."""
    parts = [
        f"{report.name} ({report.family}), environment {report.env or 'unknown'}\n"
        f"checksum {report.checksum}",
        _spreads(report.summary),
        _endings(report.summary),
        _histogram(report),
        _coverage(report.coverage, report.duplicates),
        markdown(
            ["method", "suits", "because"],
            [[fit.agent, fit.verdict, fit.reason] for fit in report.fits],
        ),
    ]
    for policy in report.policies:
        header = [policy.policy, "value", ""]
        parts.append(markdown(header, policy_rows(policy)))
    return "\n\n".join(parts)


def _spreads(summary: DatasetSummary) -> str:
    header = ["", "mean", "deviation", "least", *(f"{one} %" for one in PERCENTILES), "most"]
    rows = [
        _spread_row("length of an episode", summary.lengths),
        _spread_row("return of an episode", summary.returns),
        _spread_row("reward of a step", summary.rewards),
    ]
    if summary.normalized is not None:
        rows.insert(2, _spread_row("normalised return", summary.normalized))
    return markdown(header, rows)


def _spread_row(name: str, spread: Spread) -> list[str]:
    numbers = (spread.mean, spread.std, spread.least, *spread.percentiles, spread.most)
    return [name, *(f"{number:,.4g}" for number in numbers)]


def _endings(summary: DatasetSummary) -> str:
    return (
        f"{summary.num_episodes:,} episodes of {summary.num_steps:,} steps: "
        f"{summary.num_terminated:,} ended in a terminal state, {summary.num_longest:,} at the "
        f"time limit or whatever is longest, {summary.num_cut:,} were cut off elsewhere; "
        f"{summary.zero_rewards:.1%} of the rewards are 0"
    )


def _histogram(report: DatasetReport) -> str:
    edges, counts = report.histogram
    most = max(counts)
    rows = [
        [f"{low:,.4g} to {high:,.4g}", f"{count:,}", "#" * round(30 * count / most)]
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    return markdown(["return", "episodes", ""], rows)


def _coverage(coverage: Coverage, duplicates: Duplicates) -> str:
    constant = f", {len(coverage.constant_dims)} of them constant" if coverage.constant_dims else ""
    stds = ", ".join(f"{std:.2f}" for std in coverage.action_stds)
    return (
        f"states: {coverage.observation_dim} numbers{constant}, varying in about "
        f"{coverage.effective_dim:.1f} directions, up to {coverage.largest_observation:,.4g}\n"
        f"actions: {coverage.action_dim} numbers with deviations {stds}; "
        f"{coverage.at_bounds:.1%} at a bound, {coverage.visited_bins:.0%} of ten bins each "
        "visited\n"
        f"twice: {duplicates.episodes:,} episodes, {duplicates.steps:.1%} of the steps, "
        f"{duplicates.observations:.1%} of the observations"
    )


def draw_returns(dataset: OfflineDataset) -> Figure:
    """Return a figure of the returns, normalised too if possible, and of the episodes' lengths."""
    steps = dataset_steps(dataset.replay)
    reference = dataset.info.reference
    style: dict[Any, Any] = {"svg.hashsalt": "pbrl", "font.size": 9}
    with matplotlib.rc_context(style):
        width, height = _PANEL_INCHES
        figure = Figure(figsize=(2 * width, height), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_histogram(left, steps.returns().cpu().numpy(), "return of an episode")
        _draw_histogram(right, steps.lengths.cpu().double().numpy(), "steps of an episode")
        if reference is not None:
            span = reference.expert - reference.random
            scale = left.secondary_xaxis(
                "top",
                functions=(
                    reference.normalized,
                    lambda score: reference.random + score / 100.0 * span,
                ),
            )
            scale.set_xlabel("normalised return")
        figure.suptitle(dataset.info.name)
    return figure


def _draw_histogram(panel: Any, values: Float[np.ndarray, " value"], name: str) -> None:
    panel.hist(values, NUM_BINS, color=_COLOUR)
    panel.set_xlabel(name)
    panel.set_ylabel("episodes")
    panel.spines[["top", "right"]].set_visible(False)
