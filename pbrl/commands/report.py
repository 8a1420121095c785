"""What finished runs show: a table, learning curves and, on demand, a video."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from pbrl.commands.evaluate import write_policy_video
from pbrl.randomness import derived_seed
from pbrl.training.build import EVALUATION_ENV
from pbrl.training.plots import learning_curves, save_figure
from pbrl.training.result import Result
from pbrl.training.saved import load_policy
from pbrl.training.tables import run_table, suite_table

CURVES = "curves.png"
VIDEO = "policy.mp4"


def report_run(
    folder: Path, result: Result, *, video: bool, oracle_score: float | None = None
) -> None:
    """Print the table of a run and write its figure and, if asked for, a video into its folder.

    Args:
        folder: of the run.
        result: what it came to.
        video: write one of the learned policy; without a graphics library that is a warning.
        oracle_score: of the same agent on true reward, shown for comparison.
    """
    console = Console()
    result = replace(result, oracle_score=oracle_score)
    console.print(run_table(result), markup=False, soft_wrap=True)
    if said := labels_line(result):
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    figure = learning_curves([result], np.random.default_rng(0))
    save_figure(figure, folder / CURVES)
    console.print(f"learning curve: {folder / CURVES}", markup=False, soft_wrap=True)
    if video:
        act, config = load_policy(folder)
        seed = derived_seed(config.seed, EVALUATION_ENV)
        written = write_policy_video(act, config, folder / VIDEO, 1, seed)
        if written is not None:
            console.print(f"video of the policy: {written}", markup=False, soft_wrap=True)
    console.print(f"everything else: {folder}", markup=False, soft_wrap=True)


def labels_line(result: Result) -> str:
    """Return how many labels an online run asked and got, in a line; empty where it asked none."""
    asked, given = result.labels_asked, result.labels_given
    if not asked or result.dataset is not None:
        return ""
    nothing = "" if given else ": the policy learned from no preference at all"
    return f"labels: {asked:,} asked, {given:,} given{nothing}"


def report_seeds(folders: Mapping[int, Path], results: Sequence[Result]) -> None:
    """Print the table of all seeds, and write their curves beside the folders."""
    console = Console()
    rng = np.random.default_rng(0)
    for (seed, folder), result in zip(folders.items(), results, strict=True):
        told = f", {said}" if (said := labels_line(result)) else ""
        line = f"seed {seed}: {result.score_name} {result.score:,.2f}{told}, {folder}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(suite_table(results, rng), markup=False, soft_wrap=True)
    first = next(iter(folders.values()))
    name = first.name.removesuffix(f"-{next(iter(folders))}")
    figure = first.with_name(f"{name}-{CURVES}")
    save_figure(learning_curves(list(results), rng), figure)
    console.print(f"learning curves: {figure}", markup=False, soft_wrap=True)
