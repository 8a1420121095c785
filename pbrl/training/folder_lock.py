"""One process at a time writes the folder of a run."""

import os
import sys
from pathlib import Path
from typing import IO

LOCK = ".lock"


def hold(folder: Path) -> IO[str]:
    """Return an open file whose lock ends with the process, however it ends.

    Raises:
        OSError: if the folder cannot be written or another process holds it.
    """
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / LOCK).open("w", encoding="utf-8")
        except OSError as error:
            refusal = OSError(
                error.errno, f"cannot write the run folder ({error.strerror})", str(folder)
            )
            refusal.add_note("Choose a folder that can be written, such as with --out.")
            raise refusal from error
        if sys.platform == "win32":
            return file
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise BlockingIOError(
                error.errno, "another process is writing this run", str(folder)
            ) from error
        if _is_there(file, folder):
            return file
        file.close()  # who held it gave the folder up after we had opened it


def give_up(file: IO[str], folder: Path) -> None:
    """Close what `hold` returned for a folder, and leave no trace of it."""
    if sys.platform == "win32":
        file.close()  # an open file cannot be removed there
    (folder / LOCK).unlink(missing_ok=True)
    file.close()


def _is_there(file: IO[str], folder: Path) -> bool:
    """Return whether a lock is still that of the folder."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), (folder / LOCK).stat())
    except FileNotFoundError:
        return False


def is_held(folder: Path) -> bool:
    """Return whether a process is writing a run there."""
    if not (folder / LOCK).exists():
        return False
    try:
        hold(folder).close()
    except BlockingIOError:
        return True
    return False
