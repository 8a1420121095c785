"""Records that one suite takes over from another, where both ask for the same run."""

from collections.abc import Sequence

from pbrl.training.records import Records
from pbrl.training.suites import SuiteRun


def take_over(
    runs: Sequence[SuiteRun], records: Records, other: Sequence[SuiteRun], theirs: Records
) -> list[SuiteRun]:
    """Record those runs that another suite has recorded already; return them.

    A run is the same if it reads the same data and starts with the same agent, seed, control and
    options; what the suites call the task and the method does not count.

    Args:
        runs: that lack a record.
        records: where it goes.
        other: runs of another suite.
        theirs: its records.

    Raises:
        ValueError: if one of them is recorded with other options than its suite now asks for.
    """
    twins = {_start(run): run for run in other}
    pairs = [(run, twins[_start(run)]) for run in runs if _start(run) in twins]
    lacking = {twin.name for twin in theirs.missing([twin for _, twin in pairs])}
    taken = [(run, twin) for run, twin in pairs if twin.name not in lacking]
    for (run, _), result in zip(taken, theirs.load([twin for _, twin in taken]), strict=True):
        records.add(run, result)
    return [run for run, _ in taken]


def _start(run: SuiteRun) -> tuple[object, ...]:
    """Return what a run depends on."""
    return (
        run.task.env,
        run.task.dataset,
        run.labels,
        run.method.agent,
        run.control,
        run.seed,
        tuple(sorted(run.options.items())),
    )
