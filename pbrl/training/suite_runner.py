"""Running what a suite lacks, several runs at once, to be stopped at any moment."""

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from pbrl.training.files import write_text
from pbrl.training.launchers import Ending, Job, Launched, Launcher
from pbrl.training.records import Records
from pbrl.training.result import Result
from pbrl.training.suites import SuiteRun

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
    """Runs suites wherever a launcher starts runs; records are written by this process alone.

    Args:
        records: where the result of a finished run goes.
        folder: of the run folders and of what the runs print, one subfolder per run.
        launcher: starts the runs.
        report: gets a line whenever a run starts or ends.
        retries: how often a run goes on that was killed, or whose node was lost. One that fails by
            itself would fail again and is not tried again.
        threads: that each run computes with.
        command: what starts `pbrl`; by default the Python of the machine that runs it.

    Raises:
        ValueError: if the number of retries is negative.
    """

    def __init__(  # noqa: PLR0913  keyword-only
        self,
        records: Records,
        folder: Path,
        *,
        launcher: Launcher,
        report: Report,
        retries: int = 2,
        threads: int = 1,
        command: Sequence[str] | None = None,
    ) -> None:
        if retries < 0:
            raise ValueError(f"retries must be at least 0, got {retries}")
        self.records = records
        self.folder = folder
        self.launcher = launcher
        self.retries = retries
        self.threads = threads
        self._report = report
        self._command = None if command is None else tuple(command)
        self._finished: list[SuiteRun] = []
        self._failed: list[SuiteRun] = []
        self._active: list[tuple[SuiteRun, Launched]] = []
        self._waiting: deque[SuiteRun] = deque()
        self._attempts: Counter[str] = Counter()
        self._is_told = False  # that there is no place

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
            ValueError: if the launcher cannot run them; nothing was started then.
            KeyboardInterrupt: after Ctrl-C or a termination signal, once all runs have stopped.
        """
        self._waiting = deque(self.records.missing(runs))
        self._attempts.clear()
        self.launcher.check([self.job(run) for run in self._waiting])
        end = time.monotonic() + max_seconds
        with _terminable():
            try:
                while (self._waiting or self._active) and time.monotonic() < end:
                    self._fill_places()
                    time.sleep(_POLL_SECONDS)
                    self._collect()
                    if watch is not None:
                        watch(self.status())
            finally:
                is_stopped = bool(self._waiting or self._active)
                self._stop()
        return Outcome(tuple(self._finished), tuple(self._failed), is_stopped)

    def job(self, run: SuiteRun) -> Job:
        """Return a run as the machine that runs it has to know it."""
        folder = (self.folder / run.name).absolute()
        return Job(
            name=run.name,
            folder=folder,
            start=tuple(run.words(folder, resume=False)),
            resume=tuple(run.words(folder, resume=True)),
            data=run.data,
            directory=Path.cwd(),
            command=self._command,
            threads=self.threads,
        )

    def status(self) -> str:
        """Return what is running, how far it is and how much is left, in one line."""
        active = ", ".join(f"{run.name} {launched.progress()}" for run, launched in self._active)
        return f"{len(self._finished)} done, {len(self._waiting)} waiting; {active}"

    def _fill_places(self) -> None:
        places = self.launcher.num_places()
        while self._waiting and len(self._active) < places:
            self._start(self._waiting.popleft())
        if not places and not self._is_told:
            self._report("no machine is left with a place for a run: waiting until one comes")
        self._is_told = not places

    def _start(self, run: SuiteRun) -> None:
        result = self.folder / run.name / "result.json"
        if result.exists():  # it ended just when this program did
            self._finish(run, result.read_text(encoding="utf-8"))
            return
        self._attempts[run.name] += 1
        launched = self.launcher.launch(self.job(run))
        self._active.append((run, launched))
        self._report(f"{'resuming' if launched.is_resumed else 'starting'} {run.name}")

    def _collect(self) -> None:
        for run, launched in list(self._active):
            ending = launched.poll()
            if ending is None:
                continue
            self._active.remove((run, launched))
            if ending.result is not None:
                self._finish(run, ending.result)
            elif ending.was_killed and self._attempts[run.name] <= self.retries:
                self._report(f"LOST {run.name} ({ending.how}); it will be tried again")
                self._waiting.append(run)
            else:
                self._fail(run, ending)

    def _finish(self, run: SuiteRun, text: str) -> None:
        try:
            record = self.records.add(run, Result.parse(text, f"the result of {run.name}"))
        except OSError:  # it may have run elsewhere: the next call finds the result here
            folder = self.folder / run.name
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "result.json", text)
            raise
        self._finished.append(run)
        self._report(
            f"finished {run.name}: {record.score_name} {record.score:,.2f} "
            f"in {record.wall_seconds / 60:,.0f} minutes"
        )

    def _fail(self, run: SuiteRun, ending: Ending) -> None:
        self._failed.append(run)
        lines = "\n".join(f"    {line}" for line in ending.last_lines)
        attempts = f", attempt {self._attempts[run.name]}" if ending.was_killed else ""
        self._report(f"FAILED {run.name} ({ending.how}{attempts}):\n{lines}")

    def _stop(self) -> None:
        """Ask the runs in progress to stop and wait; a second Ctrl-C does not wait.

        What happens to end now is recorded.
        """
        if not self._active:
            return
        self._report(f"stopping {len(self._active)} runs; they write their checkpoints")
        try:
            for _, launched in self._active:
                launched.ask_to_stop()
            end = time.monotonic() + _STOP_SECONDS
            while any(launched.poll() is None for _, launched in self._active):
                if time.monotonic() > end:
                    break
                time.sleep(_POLL_SECONDS)
            for run, launched in self._active:
                ending = launched.poll()
                if ending is not None and ending.result is not None:
                    self._finish(run, ending.result)
        finally:
            for _, launched in self._active:
                launched.kill()
            self._active.clear()


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
