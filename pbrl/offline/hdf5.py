"""Arrays of HDF5 files, checked before they take any memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Shaped

from pbrl.offline.checks import NUMBERS, DatasetError, as_flags, check_finite, check_shape, squeezed

# What a number may be compressed to: deflate makes at most 1032 bytes of one.
_MOST_COMPRESSED = 1100
_ALWAYS_ALLOWED = 2**26  # bytes: arrays that were never written are not stored at all
_UNREADABLE = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)


@contextmanager
def reading(path: Path, key: str = "") -> Iterator[None]:
    """Turn what the HDF5 library raises into an error that names the file and the key.

    Raises:
        DatasetError: for whatever the library cannot read.
    """
    try:
        yield
    except DatasetError:
        raise
    except _UNREADABLE as error:
        where = f"{path}: {key}" if key else f"{path}"
        raise DatasetError(f"{where} cannot be read as HDF5: {error}") from error


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open an `h5py.File` for reading.

    Raises:
        DatasetError: if there is no such file or it is none of HDF5.
    """
    import h5py

    if not path.is_file():
        raise DatasetError(f"there is no file {path}")
    with reading(path):
        file = h5py.File(path, "r")
    try:
        yield file
    finally:
        file.close()


def has(path: Path, group: Any, key: str) -> bool:
    """Return whether a group has something at `key`."""
    with reading(path, key):
        return key in group


def find(path: Path, group: Any, key: str) -> Any:
    """Return the array at `key`, unread: a `h5py.Dataset`.

    Raises:
        DatasetError: if it is missing, no array of numbers, or declares more than the file holds.
    """
    import h5py

    full = f"{group.name}/{key}".lstrip("/")
    with reading(path, full):
        found = group.get(key)
        if found is None:
            raise DatasetError(f"{path} lacks {full}; {group.name} has {', '.join(group)}")
        if not isinstance(found, h5py.Dataset):
            raise DatasetError(f"{path}: {full} is a {type(found).__name__}, expected an array")
        if found.dtype.kind not in NUMBERS or found.shape is None:
            raise DatasetError(f"{path}: {full} holds {found.dtype}, expected numbers")
        declared, stored = found.size * found.dtype.itemsize, found.id.get_storage_size()
        if declared > _MOST_COMPRESSED * stored + _ALWAYS_ALLOWED:
            raise DatasetError(
                f"{path}: {full} declares {declared} bytes, but the file holds {stored} of it"
            )
    return found


def read_floats(
    path: Path, group: Any, key: str, expected: tuple[int | None, ...]
) -> Float32[np.ndarray, "..."]:
    """Return an array in single precision; a column counts as a vector.

    Args:
        path: the file, for messages.
        group: where the array lies.
        key: its name there.
        expected: its shape; None stands for any size but 0.

    Raises:
        DatasetError: naming the file, the key, what came and what was expected.
    """
    dataset = find(path, group, key)
    where = f"{path}: {dataset.name.lstrip('/')}"
    shape = dataset.shape
    if len(expected) == 1 and len(shape) == len(expected) + 1 and shape[1] == 1:
        check_shape(where, shape[:1], expected)
    else:
        check_shape(where, shape, expected)
    array = np.empty(shape, np.float32)
    read_into(path, dataset, array)
    if len(expected) == 1:
        array = squeezed(array)
    check_finite(where, array)
    return array


def read_into(
    path: Path, dataset: Any, array: Float32[np.ndarray, "..."], rows: slice = slice(None)
) -> None:
    """Fill `array` with rows of a dataset, converted on the way.

    No second copy in the file's own precision is made.

    Raises:
        DatasetError: naming the file and the key.
    """
    with reading(path, dataset.name):
        if dataset.dtype.kind == "b":  # the library converts no booleans
            array[:] = dataset[rows]
        else:
            dataset.read_direct(array, rows)


def read_flags(path: Path, group: Any, key: str, num: int) -> Bool[np.ndarray, " step"]:
    """Return a vector of booleans, stored as such or as numbers 0 and 1, perhaps as a column.

    Raises:
        DatasetError: naming the file, the key, what came and what was expected.
    """
    dataset = find(path, group, key)
    where = f"{path}: {dataset.name.lstrip('/')}"
    check_shape(where, dataset.shape[:1], (num,))
    with reading(path, dataset.name):
        array: Shaped[np.ndarray, ...] = dataset[()]
    return as_flags(where, squeezed(array), num)
