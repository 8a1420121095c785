"""One process at a time writes the folder of a run."""

import sys
from pathlib import Path
from typing import IO

LOCK = ".lock"


def hold(folder: Path) -> IO[str]:
    """Return an open file whose lock ends with the process, however it ends.

    Raises:
        OSError: if the folder cannot be written or another process holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("w", encoding="utf-8")
    except OSError as error:
        refusal = OSError(
            error.errno, f"cannot write the run folder ({error.strerror})", str(folder)
        )
        refusal.add_note("Choose a folder that can be written, such as with --out.")
        raise refusal from error
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise BlockingIOError(
                error.errno, "another process is writing this run", str(folder)
            ) from error
    return file


def is_held(folder: Path) -> bool:
    """Return whether a process is writing a run there."""
    if not (folder / LOCK).exists():
        return False
    try:
        hold(folder).close()
    except BlockingIOError:
        return True
    return False
