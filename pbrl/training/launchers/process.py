"""A run in a process of its own, on the machine that it is started on."""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from pbrl.training.launchers import lifeline
from pbrl.training.launchers.protocol import Ending, Job

# Runs side by side with more threads than cores become many times slower.
THREAD_SETTINGS = tuple(
    f"{library}_NUM_THREADS" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB")
)
LAST_LINES = 15
INTERRUPTED = 130  # status of a run that was asked to stop and wrote its checkpoint
_END_OF_TABLE = 65_536  # bytes in which the last row of a table of metrics surely begins


class RunProcess:
    """A run; what it prints goes to a file beside its folder.

    A result that is there already is the ending: nothing is started. The process dies with the one
    that started it.

    Args:
        job: the run.
        environment: variables of the process beside those of this one.
    """

    def __init__(self, job: Job, environment: Mapping[str, str] | None = None) -> None:
        self.job = job
        self.is_resumed = (job.folder / "config.json").is_file()
        self._output = job.folder.with_name(f"{job.folder.name}.log")
        self._ending: Ending | None = None
        if (result := self._result()) is not None:
            self._ending = Ending(how="complete", result=result)
        else:
            self._process = self._start(environment or {})

    def _start(self, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start it where a Ctrl-C in the terminal does not reach it: its runner passes it on."""
        command = self.job.command or (sys.executable, "-m", "pbrl.cli")
        words = self.job.resume if self.is_resumed else self.job.start
        self.job.folder.parent.mkdir(parents=True, exist_ok=True)
        with self._output.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", lifeline.__file__, *command, *words],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.job.directory if self.job.directory.is_dir() else None,
                env={
                    **os.environ,
                    **dict.fromkeys(THREAD_SETTINGS, str(self.job.threads)),
                    **environment,
                },
                start_new_session=True,
            )

    def poll(self) -> Ending | None:
        """Return how the run ended, None while it has not."""
        if self._ending is None and (status := self._process.poll()) is not None:
            self._kill_group()
            self._ending = self._ended(status)
        return self._ending

    def _ended(self, status: int) -> Ending:
        if status == 0 and (result := self._result()) is not None:
            return Ending(how="complete", result=result)
        return Ending(
            how=f"status {status}" if status >= 0 else f"killed by signal {-status}",
            was_killed=status < 0 or status == INTERRUPTED,
            last_lines=self._last_lines(),
        )

    def progress(self) -> str:
        """Return the last step in the run's table of metrics."""
        metrics = self.job.folder / "metrics.csv"
        if not metrics.is_file():
            return "at step 0"
        with metrics.open("rb") as file:
            file.seek(max(0, metrics.stat().st_size - _END_OF_TABLE))
            rows = file.read().rpartition(b"\n")[0].splitlines()
        step = rows[-1].partition(b",")[0].decode() if rows else ""
        return f"at step {int(step):,}" if step.isdecimal() else "at step 0"

    def ask_to_stop(self) -> None:
        """Let the run write a checkpoint and end."""
        if self.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End the run and all that it started."""
        if self._ending is None:
            self._kill_group()
            self._process.wait()

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):  # nothing of it is left
            os.killpg(self._process.pid, signal.SIGKILL)

    def _result(self) -> str | None:
        path = self.job.folder / "result.json"
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def _last_lines(self) -> tuple[str, ...]:
        with self._output.open(encoding="utf-8", errors="replace") as file:
            return tuple(line.rstrip("\n") for line in deque(file, maxlen=LAST_LINES))
