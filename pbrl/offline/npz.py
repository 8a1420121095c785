"""Numeric arrays of NPZ archives, checked before they take any memory."""

import lzma
import math
import sys
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from zipfile import ZipExtFile

import numpy as np

MAX_BYTES = 2**35  # of the arrays that are read
NUMERIC_KINDS, TEXT_KIND = "biuf", "U"
_NUMBERS = (NUMERIC_KINDS, "numbers")
_UNREADABLE = (
    ValueError,
    KeyError,
    EOFError,
    OSError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def npz_names(path: Path) -> frozenset[str]:
    """Return the names of the arrays in an archive.

    Raises:
        ValueError: if the file is no NPZ archive.
        OSError: if it cannot be opened.
    """
    with _open(path) as archive:
        return frozenset(name.removesuffix(".npy") for name in archive.namelist())


def read_npz(
    path: Path, names: Collection[str], texts: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Return arrays of an archive; those not asked for are not looked at.

    An array is allocated only after its header was found to tell the size that the archive holds
    for it. Arrays of objects and records are refused, so nothing is ever unpickled.

    Args:
        path: the archive.
        names: of the arrays.
        texts: those of them that hold text; the others hold numbers.

    Raises:
        ValueError: naming the file, the array, what came and what was expected.
        OSError: if the file cannot be opened.
    """
    arrays = {}
    with _open(path) as archive:
        held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        missing = sorted(set(names) - set(held))
        if missing:
            raise ValueError(f"it lacks {', '.join(missing)} and has {', '.join(sorted(held))}")
        size = sum(held[name].file_size for name in names)
        if size > MAX_BYTES:
            raise ValueError(f"it unpacks to {size} bytes, more than {MAX_BYTES}")
        for name in names:
            with archive.open(held[name]) as file:
                try:
                    kinds, what = (TEXT_KIND, "text") if name in texts else _NUMBERS
                    member = cast(ZipExtFile, file)
                    arrays[name] = _read_array(member, held[name].file_size, kinds, what)
                except _UNREADABLE as error:
                    raise ValueError(f"{name} cannot be read: {error}") from error
    return arrays


@contextmanager
def _open(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive; whatever is wrong with it becomes a ValueError that names the file."""
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except _UNREADABLE as error:
            raise ValueError(f"{path} is not an NPZ archive as expected: {error}") from error


def _read_array(file: ZipExtFile, size: int, kinds: str, what: str) -> np.ndarray:
    """Read an array of some kinds from an archive's member that unpacks to `size` bytes."""
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"it is an array of NPY version {version}, expected 1.0 or 2.0")
    shape, is_fortran, dtype = _HEADERS[version](file)
    if dtype.kind not in kinds or dtype.itemsize == 0:
        raise ValueError(f"it is an array of {dtype}, expected {what}")
    needed, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if needed != held:
        raise ValueError(f"its shape {shape} needs {needed} bytes of {dtype}, it holds {held}")
    flat = np.empty(math.prod(shape), dtype)
    if file.readinto(flat.view(np.uint8).data) != needed:
        raise ValueError(f"it ends before its {needed} bytes")
    if dtype.kind == TEXT_KIND:
        codes = flat.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if codes.max(initial=0) > sys.maxunicode:  # Python would fail on them, and not cleanly
            raise ValueError("it holds numbers that are no characters")
    return flat.reshape(shape, order="F" if is_fortran else "C")
