"""Running what a suite lacks, several processes at once, to be stopped at any moment."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO

from pbrl.training.metrics import read_metrics
from pbrl.training.result import Result
from pbrl.training.run_folder import is_run
from pbrl.training.suites import Records, SuiteRun

# More than one thread each makes runs beside one another many times slower.
ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB")
}
LAST_LINES = 15
_POLL_SECONDS = 0.2
_STOP_SECONDS = 120.0  # a run asked to stop writes a checkpoint first

Report = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What came of running a suite.

    Attributes:
        finished: runs that got their record now.
        failed: runs that ended without a result.
        is_stopped: whether time ran out before all were run.
    """

    finished: tuple[SuiteRun, ...]
    failed: tuple[SuiteRun, ...]
    is_stopped: bool


class SuiteRunner:
    """Runs suites as subprocesses with one thread each.

    Args:
        records: where the result of a finished run goes.
        folder: of the run folders and of what the runs print, one subfolder per run.
        workers: processes at once.
        report: gets a line whenever a run starts or ends.
        command: what starts `pbrl`.

    Raises:
        ValueError: if there is not at least one worker.
    """

    def __init__(
        self,
        records: Records,
        folder: Path,
        *,
        workers: int,
        report: Report,
        command: Sequence[str] = (sys.executable, "-m", "pbrl.cli"),
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        self.records = records
        self.folder = folder
        self.workers = workers
        self._report = report
        self._command = tuple(command)
        self._finished: list[SuiteRun] = []
        self._failed: list[SuiteRun] = []
        self._active: list[_Process] = []

    def run(
        self,
        runs: Sequence[SuiteRun],
        *,
        max_seconds: float = float("inf"),
        watch: Report | None = None,
    ) -> Outcome:
        """Run all that is not recorded yet; what was interrupted goes on from its checkpoint.

        A run that fails is reported with the last lines it printed and the others go on.

        Args:
            runs: of a suite.
            max_seconds: stop, with checkpoints, when so much time has passed.
            watch: gets a line about the runs in progress now and then.

        Raises:
            KeyboardInterrupt: after Ctrl-C or a termination signal, once all runs have stopped.
        """
        waiting = deque(run for run in runs if not self.records.has(run))
        end = time.monotonic() + max_seconds
        with _terminable():
            try:
                while (waiting or self._active) and time.monotonic() < end:
                    while waiting and len(self._active) < self.workers:
                        self._start(waiting.popleft())
                    time.sleep(_POLL_SECONDS)
                    self._collect()
                    if watch is not None:
                        watch(self.status(len(waiting)))
            finally:
                is_stopped = bool(waiting or self._active)
                self._stop()
        return Outcome(tuple(self._finished), tuple(self._failed), is_stopped)

    def status(self, num_waiting: int) -> str:
        """Return what is running, how far it is and how much is left, in one line."""
        active = ", ".join(f"{each.run.name} at step {each.step()}" for each in self._active)
        return f"{len(self._finished)} done, {num_waiting} waiting; {active}"

    def _start(self, run: SuiteRun) -> None:
        folder = self.folder / run.name
        if (folder / "result.json").exists():  # it ended just when this program did
            self._finish(run, folder)
            return
        resume = is_run(folder)
        self._report(f"{'resuming' if resume else 'starting'} {run.name}")
        words = [*self._command, *run.words(folder, resume=resume)]
        self._active.append(_Process(run, folder, words))

    def _collect(self) -> None:
        for process in list(self._active):
            status = process.poll()
            if status is None:
                continue
            self._active.remove(process)
            if status == 0 and (process.folder / "result.json").exists():
                self._finish(process.run, process.folder)
            else:
                self._failed.append(process.run)
                lines = "\n".join(f"    {line}" for line in process.last_lines())
                self._report(f"FAILED {process.run.name} (status {status}):\n{lines}")

    def _finish(self, run: SuiteRun, folder: Path) -> None:
        record = self.records.add(run, Result.load(folder / "result.json"))
        self._finished.append(run)
        self._report(
            f"finished {run.name}: {record.score_name} {record.score:,.2f} "
            f"in {record.wall_seconds / 60:,.0f} minutes"
        )

    def _stop(self) -> None:
        """Ask the runs in progress to stop and wait; a second Ctrl-C does not wait."""
        if not self._active:
            return
        self._report(f"stopping {len(self._active)} runs; they write their checkpoints")
        try:
            for process in self._active:
                process.ask_to_stop()
            end = time.monotonic() + _STOP_SECONDS
            while any(process.poll() is None for process in self._active):
                if time.monotonic() > end:
                    break
                time.sleep(_POLL_SECONDS)
        finally:
            for process in self._active:
                process.kill()
            self._active.clear()


class _Process:
    """A run in a process of its own; what it prints goes to a file beside its folder."""

    def __init__(self, run: SuiteRun, folder: Path, words: Sequence[str]) -> None:
        self.run = run
        self.folder = folder
        self._output = folder.with_name(f"{folder.name}.log")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with self._output.open("ab") as output:
            self._process = _spawn(words, output)

    def poll(self) -> int | None:
        return self._process.poll()

    def step(self) -> str:
        metrics = self.folder / "metrics.csv"
        rows = read_metrics(metrics) if metrics.exists() else []
        return f"{int(rows[-1]['step']):,}" if rows else "0"

    def last_lines(self) -> list[str]:
        text = self._output.read_text(encoding="utf-8", errors="replace")
        return text.splitlines()[-LAST_LINES:]

    def ask_to_stop(self) -> None:
        if self.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        if self.poll() is None:
            self._process.kill()
        self._process.wait()


def _spawn(words: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process that a Ctrl-C in the terminal does not reach: its runner passes it on."""
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **ONE_THREAD},
        start_new_session=True,
    )


@contextmanager
def _terminable() -> Iterator[None]:
    """Treat a termination signal as Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
