"""What a launcher does on the node of a cluster where a run lies."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pbrl.training.folder_lock import is_held
from pbrl.training.launchers.process import RunProcess
from pbrl.training.launchers.protocol import Ending, Job

_POLL_SECONDS = 0.2
_LAST_WRITER_SECONDS = 60.0  # that a node may take to notice that the cluster gave it up


class RunOnNode:
    """A run on the node where this object lives; with it the run dies.

    Its methods are called from several threads.
    """

    def __init__(self) -> None:
        self._process: RunProcess | None = None
        self._asked_to_stop = threading.Event()

    def run(self, job: Job) -> Ending:
        """Run until the end."""
        end = time.monotonic() + _LAST_WRITER_SECONDS
        while is_held(job.folder) and time.monotonic() < end:
            if self._asked_to_stop.wait(_POLL_SECONDS):
                return Ending(how="stopped", was_killed=True)
        self._process = process = RunProcess(job)
        has_asked = False
        while (ending := process.poll()) is None:
            time.sleep(_POLL_SECONDS)
            if self._asked_to_stop.is_set() and not has_asked:
                process.ask_to_stop()
                has_asked = True
        return ending

    def progress(self) -> str:
        """Return how far the run is."""
        return "at step 0" if self._process is None else self._process.progress()

    def ask_to_stop(self) -> None:
        """Let the run write a checkpoint and end."""
        self._asked_to_stop.set()


def look_for(mark: Path, data: Sequence[str], directory: Path) -> tuple[bool, list[str]]:
    """Return whether this node sees a file, and which data it does not see.

    Args:
        mark: a file that another node wrote.
        data: files and folders.
        directory: what relative ones of them start from, where this node has it.
    """
    start = directory if directory.is_dir() else Path.cwd()
    return mark.exists(), [path for path in data if not (start / path).exists()]
