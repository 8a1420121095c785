"""`pbrl benchmark`: run a suite piece by piece and make its table and figures."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from pbrl.training.launchers import Launcher, LocalLauncher
from pbrl.training.records import Records
from pbrl.training.shared_records import take_over
from pbrl.training.suite_files import SUITES, find_suite
from pbrl.training.suite_report import write_report
from pbrl.training.suite_runner import Outcome, SuiteRunner
from pbrl.training.suites import Suite, SuiteRun, check_data, load_suite

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
        launcher: local runs on this machine, ray on the nodes of a Ray cluster.
        address: of the cluster: HOST:PORT of its head, from one of its nodes; ray://HOST:10001 from
            elsewhere; auto for the one that this machine belongs to.
        workers: runs at once; by default 1 on this machine, and as many as fit on a cluster.
        cpus_per_run: that a run takes on a cluster; and its threads, on this machine too.
        gpus_per_run: a fraction of a GPU that several runs share, or a whole number of them.
        retries: how often a run goes on that was killed, or whose node was lost.
        records: folder of the records, or a URL such as s3://bucket/folder; by default
            benchmarks/results/SUITE.
        runs: folder of the run folders; on a cluster best one that all nodes share. By default
            runs/suites/SUITE.
        only: run just these.
        max_hours: stop, with checkpoints, after so many hours.
        report_only: make the table and the figures from the records there are, and run nothing.
        list_runs: print the runs and which of them are recorded, and do nothing else.
        root: folder that holds benchmarks/, docs/ and runs/.
    """

    suite: Annotated[str, tyro.conf.Positional]
    launcher: Literal["local", "ray"] = "local"
    address: str = "auto"
    workers: int | None = None
    cpus_per_run: float = 1.0
    gpus_per_run: float = 0.0
    retries: int = 2
    records: str | None = None
    runs: Path | None = None
    only: Filter = field(default_factory=Filter)
    max_hours: float = float("inf")
    report_only: bool = False
    list_runs: bool = False
    root: Path = Path()

    def __post_init__(self) -> None:
        if self.launcher == "local" and self.address != "auto":
            raise ValueError(f"address {self.address!r} goes with --launcher ray")


def main(arguments: Sequence[str]) -> int:
    """Run `pbrl benchmark` with the words after it; 1 if a run failed."""
    options = tyro.cli(
        BenchmarkOptions,
        args=list(arguments),
        prog="pbrl benchmark",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    suite = load_suite(find_suite(options.suite, options.root / SUITES))
    records = Records(options.records or options.root / "benchmarks" / "results" / suite.name)
    console = Console()
    if options.list_runs:
        runs = options.only(suite.runs())
        missing = {run.name for run in records.missing(runs)}
        for run in runs:
            mark = "missing " if run.name in missing else "recorded"
            console.print(f"{mark}  {run.name}", markup=False, highlight=False)
        return 0
    failed, is_over, before = False, False, len(records.load(suite.runs()))
    try:
        if not options.report_only:
            failed = bool(_run(options, suite, records, console).failed)
        is_over = True
    finally:
        results = records.load(suite.runs())
        # What is refused before any run leaves the page as it is.
        if len(results) > before or (is_over and (results or options.report_only)):
            for path in write_report(suite, results, options.root / "docs" / "benchmarks.md"):
                console.print(f"written: {path}", markup=False)
    return FAILED if failed else 0


def _run(options: BenchmarkOptions, suite: Suite, records: Records, console: Console) -> Outcome:
    runs = options.only(suite.runs())

    def report(line: str) -> None:
        console.print(line, markup=False, highlight=False)

    for name in suite.shares:
        _take_over(name, records.missing(runs), records, options.root, report)
    missing = records.missing(runs)
    check_data(missing)
    report(f"{suite.title}: {len(runs) - len(missing)} of {len(runs)} runs are recorded")
    with closing(_make_launcher(options, report)) as launcher, console.status("") as status:
        runner = SuiteRunner(
            records,
            options.runs or options.root / "runs" / "suites" / suite.name,
            launcher=launcher,
            report=report,
            retries=options.retries,
            threads=max(1, int(options.cpus_per_run)),
        )
        outcome = runner.run(
            missing,
            max_seconds=options.max_hours * SECONDS_PER_HOUR,
            watch=status.update if console.is_terminal else None,
        )
    if outcome.is_stopped:
        report("time is up; the same command goes on from here")
    if outcome.failed:
        names = ", ".join(run.name for run in outcome.failed)
        report(f"{len(outcome.failed)} runs failed: {names}")
    return outcome


def _take_over(
    name: str,
    missing: Sequence[SuiteRun],
    records: Records,
    root: Path,
    report: Callable[[str], None],
) -> None:
    other = load_suite(find_suite(name, root / SUITES))
    theirs = Records(root / "benchmarks" / "results" / other.name)
    for run in take_over(missing, records, other.runs(), theirs):
        report(f"{run.name}: the same run is recorded in {other.name}")


def _make_launcher(options: BenchmarkOptions, report: Callable[[str], None]) -> Launcher:
    if options.launcher == "local":
        return LocalLauncher(
            1 if options.workers is None else options.workers, gpus_per_run=options.gpus_per_run
        )
    from pbrl.training.launchers.ray_cluster import RayLauncher

    return RayLauncher(
        options.address,
        cpus_per_run=options.cpus_per_run,
        gpus_per_run=options.gpus_per_run,
        workers=options.workers,
        report=report,
    )
