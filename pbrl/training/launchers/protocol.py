"""What the runner of a suite and a launcher say to each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run, as the machine that runs it has to know it.

    Attributes:
        name: of the run and of its folder.
        folder: of the run.
        start: words after `pbrl` that start it.
        resume: words that go on from its checkpoint.
        data: files and folders that it reads.
        directory: what relative paths in the words start from, where the machine has it.
        command: what starts `pbrl`; by default the Python of the machine that runs it.
        threads: that it computes with.
    """

    name: str
    folder: Path
    start: tuple[str, ...]
    resume: tuple[str, ...]
    data: tuple[str, ...] = ()
    directory: Path = Path()
    command: tuple[str, ...] | None = None
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a run ended.

    Attributes:
        how: in words, such as `status 1`.
        was_killed: whether it was ended from outside, so that another attempt makes sense.
        result: text of its `result.json`, if it is complete.
        last_lines: that it printed.
    """

    how: str
    was_killed: bool = False
    result: str | None = None
    last_lines: tuple[str, ...] = ()


@runtime_checkable
class Launched(Protocol):
    """A run on its way."""

    @property
    def is_resumed(self) -> bool:
        """Whether it goes on from what an earlier attempt left, as far as that is known here."""
        ...

    def poll(self) -> Ending | None:
        """Return how it ended, None while it has not."""
        ...

    def progress(self) -> str:
        """Return how far it is, in a few words."""
        ...

    def ask_to_stop(self) -> None:
        """Let it write a checkpoint and end; `poll` tells when it has."""
        ...

    def kill(self) -> None:
        """End it and all that it started, now."""
        ...


@runtime_checkable
class Launcher(Protocol):
    """Starts runs somewhere."""

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse what could not run, before anything is started.

        Raises:
            ValueError: naming what lacks, where, and what to do about it.
        """
        ...

    def num_places(self) -> int:
        """Return how many runs fit at once, at this moment."""
        ...

    def launch(self, job: Job) -> Launched:
        """Start a run, or let it go on if its folder holds the beginning of it."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...
