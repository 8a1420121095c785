"""Files written whole or not at all, and never over others."""

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing bytes; an earlier file of that name stays until all are on the disk.

    Its folder is made if need be. When the block fails, nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_new_file(path: Path, suffixes: Sequence[str], *beside: str) -> None:
    """Refuse a file that cannot be written, or is there already, before the work that it is for.

    Its folder is made if need be.

    Args:
        path: the file.
        suffixes: what its name may end in.
        beside: endings of the files that are written beside it.

    Raises:
        ValueError: if its name ends otherwise.
        FileExistsError: if it, or a file that goes beside it, is there.
        OSError: if its folder cannot be written.
    """
    if path.suffix not in suffixes:
        raise ValueError(f"out must end in {', '.join(suffixes)}, got {path}")
    for file in (path, *(path.with_suffix(one) for one in beside)):
        if file.exists():
            raise FileExistsError(f"{file} is there already; choose another name or remove it")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "cannot write into the folder", str(path.parent))
