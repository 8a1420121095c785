"""`pbrl benchmark`: run a suite piece by piece and make its table and figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from pbrl.training.suite_report import write_report
from pbrl.training.suite_runner import Outcome, SuiteRunner
from pbrl.training.suites import Records, Suite, SuiteRun, check_data, find_suite, load_suite

SECONDS_PER_HOUR = 3_600.0
FAILED = 1


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which runs of a suite; an empty list means all.

    Attributes:
        agent: names of methods; controls come with them.
        control: controls.
        task: environment ids, or what datasets are called.
        seed: seeds.
    """

    agent: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    task: tuple[str, ...] = ()
    seed: tuple[int, ...] = ()

    def __call__(self, runs: Sequence[SuiteRun]) -> list[SuiteRun]:
        """Return the runs that are meant.

        Raises:
            ValueError: if a name is of no run.
        """
        kept = list(runs)
        for name, wanted, read in (
            ("agent", self.agent, lambda run: run.agent),
            ("control", self.control, lambda run: run.control),
            ("task", self.task, lambda run: run.task_name),
            ("seed", self.seed, lambda run: run.seed),
        ):
            known = list(dict.fromkeys(read(run) for run in runs))
            unknown = [one for one in wanted if one not in known]
            if unknown:
                raise ValueError(f"only.{name}: the suite has {known}, got {unknown}")
            kept = [run for run in kept if not wanted or read(run) in wanted]
        return kept


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """Run a suite piece by piece, then make its table and figures from the records.

    Runs that are recorded are skipped, interrupted ones go on from their checkpoint. Stop it with
    Ctrl-C and call it again to go on.

    Attributes:
        suite: name of a suite in benchmarks/suites, or a file.
        workers: runs at once, each with one thread.
        only: run just these.
        max_hours: stop, with checkpoints, after so many hours.
        report_only: make the table and the figures from the records there are, and run nothing.
        list_runs: print the runs and which of them are recorded, and do nothing else.
        root: folder that holds benchmarks/, docs/ and runs/.
    """

    suite: Annotated[str, tyro.conf.Positional]
    workers: int = 1
    only: Filter = field(default_factory=Filter)
    max_hours: float = float("inf")
    report_only: bool = False
    list_runs: bool = False
    root: Path = Path()


def main(arguments: Sequence[str]) -> int:
    """Run `pbrl benchmark` with the words after it; 1 if a run failed."""
    options = tyro.cli(
        BenchmarkOptions,
        args=list(arguments),
        prog="pbrl benchmark",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    suite = load_suite(find_suite(options.suite, options.root / "benchmarks" / "suites"))
    records = Records(options.root / "benchmarks" / "results" / suite.name)
    console = Console()
    if options.list_runs:
        for run in options.only(suite.runs()):
            mark = "recorded" if records.has(run) else "missing "
            console.print(f"{mark}  {run.name}", markup=False, highlight=False)
        return 0
    failed = False
    try:
        if not options.report_only:
            failed = bool(_run(options, suite, records, console).failed)
    finally:
        results = records.load(suite.runs())
        if results or options.report_only:
            for path in write_report(suite, results, options.root / "docs" / "benchmarks.md"):
                console.print(f"written: {path}", markup=False)
    return FAILED if failed else 0


def _run(options: BenchmarkOptions, suite: Suite, records: Records, console: Console) -> Outcome:
    runs = options.only(suite.runs())
    missing = [run for run in runs if not records.has(run)]
    check_data(missing)
    console.print(f"{suite.title}: {len(runs) - len(missing)} of {len(runs)} runs are recorded")
    with console.status("") as status:
        runner = SuiteRunner(
            records,
            options.root / "runs" / "suites" / suite.name,
            workers=options.workers,
            report=lambda line: console.print(line, markup=False, highlight=False),
        )
        outcome = runner.run(
            missing,
            max_seconds=options.max_hours * SECONDS_PER_HOUR,
            watch=status.update if console.is_terminal else None,
        )
    if outcome.is_stopped:
        console.print("time is up; the same command goes on from here")
    if outcome.failed:
        names = ", ".join(run.name for run in outcome.failed)
        console.print(f"{len(outcome.failed)} runs failed: {names}", markup=False)
    return outcome
