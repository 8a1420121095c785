"""The runs of a suite, all seeds of a method on a task as one computation."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import tyro

from pbrl.commands.train import TrainOptions, configure
from pbrl.training.config import TrainConfig
from pbrl.training.records import Records
from pbrl.training.result import Result
from pbrl.training.run import train_seeds
from pbrl.training.run_folder import is_run, read_config
from pbrl.training.suites import Suite, SuiteRun


def run_together(
    suite: Suite,
    records: Records,
    folder: Path,
    change: Callable[[TrainConfig], TrainConfig] = lambda config: config,
) -> list[tuple[SuiteRun, Result]]:
    """Run online what a suite lacks, and record it; what was interrupted goes on.

    Args:
        suite: of online runs.
        records: where results go.
        folder: of the run folders.
        change: of every configuration, in what the suite leaves open; a run that goes on keeps its
            way of making updates.
    """
    groups: dict[tuple[str, str, str], list[SuiteRun]] = {}
    for run in records.missing(suite.runs()):
        groups.setdefault((run.task_name, run.agent, run.control), []).append(run)
    done = []
    for runs in groups.values():
        folders = {run.seed: folder / run.name for run in runs}
        print(f"{runs[0].agent} on {runs[0].task_name}, seeds {list(folders)}", flush=True)
        config = change(configuration(runs[0], folder))
        started = [path for path in folders.values() if is_run(path)]
        resume = bool(started)
        if resume:  # in the way that was fastest then, whatever is now
            config = replace(config, updates=read_config(started[0]).get("updates", "eager"))
        results = train_seeds(config, folders, resume=resume)
        done += [(run, records.add(run, found)) for run, found in zip(runs, results, strict=True)]
    return done


def configuration(run: SuiteRun, folder: Path) -> TrainConfig:
    """Return what `pbrl train` makes of a run's words."""
    _, *words = run.words(folder / run.name, resume=False)
    options, rest = tyro.cli(TrainOptions, args=words, return_unknown_args=True)
    return configure(options, rest, words)


def lines(done: Sequence[tuple[SuiteRun, Result]]) -> list[str]:
    """Return what came of each run, with the time that all seeds of it took together."""
    return [
        f"{run.name}: {found.score_name} {found.score:,.1f} in {found.wall_seconds / 60:,.1f} "
        f"minutes with {found.seeds_together} seeds together"
        for run, found in done
    ]
