"""The records of a suite: one JSON file per finished run, in one folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pbrl.training.files import json_text, plain
from pbrl.training.record_files import RecordFiles, open_files
from pbrl.training.result import Result
from pbrl.training.suites import SuiteRun


@dataclass(frozen=True)
class Records:
    """The folder of a suite's records.

    Attributes:
        folder: a path, or a URL that fsspec knows, such as `s3://bucket/folder`.
    """

    folder: Path | str

    @cached_property
    def _files(self) -> RecordFiles:
        return open_files(self.folder)

    def path(self, run: SuiteRun) -> str:
        """Return where the record of a run lies."""
        return self._files.path(_name(run))

    def missing(self, runs: Sequence[SuiteRun]) -> list[SuiteRun]:
        """Return the runs that are not recorded.

        Raises:
            ValueError: if one is recorded with other options than the suite now asks for.
        """
        results = self._read(runs)
        for run in runs:
            if run.name in results and results[run.name].options != plain(run.options):
                raise ValueError(
                    f"{self.path(run)} was recorded with the options {results[run.name].options} "
                    f"and the suite now asks for {run.options}; delete the record to run it "
                    "again, or restore the options"
                )
        return [run for run in runs if run.name not in results]

    def has(self, run: SuiteRun) -> bool:
        """Return whether a run is recorded.

        Raises:
            ValueError: if it is recorded with other options than the suite now asks for.
        """
        return not self.missing([run])

    def add(self, run: SuiteRun, result: Result) -> Result:
        """Keep the result of a run, with the names and the options that the suite gave to it."""
        record = replace(
            result,
            suite=run.suite,
            agent=run.agent,
            dataset=result.dataset and (run.task.name or result.dataset),
            options=dict(run.options),
        )
        self._files.write(_name(run), json_text(record))
        return record

    def load(self, runs: Sequence[SuiteRun]) -> list[Result]:
        """Return the records of those runs that have one, methods and tasks as in the suite."""
        return list(self._read(runs).values())

    def _read(self, runs: Sequence[SuiteRun]) -> dict[str, Result]:
        """Return the records there are, by the names of the runs."""
        there = self._files.names()
        texts = self._files.read([_name(run) for run in runs if _name(run) in there])
        return {
            run.name: Result.parse(texts[_name(run)], self.path(run))
            for run in runs
            if _name(run) in texts
        }


def _name(run: SuiteRun) -> str:
    return f"{run.name}.json"
