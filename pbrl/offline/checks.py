"""What every loader asks of the arrays it reads, and the error that says what was wrong."""

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int, Shaped

NUMBERS = "fiub"  # numpy's kinds: floats, integers, booleans
_OF_ONE_AXIS = 1


class DatasetError(ValueError):
    """A dataset that cannot be used: names the file, the key, what came and what was expected."""


def check_shape(where: str, shape: tuple[int, ...], expected: tuple[int | None, ...]) -> None:
    """Refuse an array of another shape, or an empty one.

    Args:
        where: file and key, for the message.
        shape: of the array.
        expected: None stands for any size but 0.

    Raises:
        DatasetError: naming both shapes.
    """
    fits = len(shape) == len(expected) and all(
        size == found if size is not None else found > 0
        for found, size in zip(shape, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in expected)
        raise DatasetError(f"{where} has shape {shape}, expected ({wanted}), none of it empty")


def check_finite(where: str, array: Float32[np.ndarray, "..."]) -> None:
    """Refuse NaN, infinity and what single precision cannot hold.

    Raises:
        DatasetError: naming the first row that is not finite.
    """
    with np.errstate(invalid="ignore"):
        # The extremes tell it without a copy: NaN goes into both.
        if np.isfinite(array.min()) and np.isfinite(array.max()):
            return
    rows = (~np.isfinite(array)).reshape(len(array), -1).any(1)
    raise DatasetError(
        f"{where} must hold finite numbers of single precision, but {rows.sum()} of {len(array)} "
        f"rows do not, the first of them row {rows.argmax()}: {array[rows.argmax()]}"
    )


def as_floats(
    where: str, array: Shaped[np.ndarray, "..."], expected: tuple[int | None, ...]
) -> Float32[np.ndarray, "..."]:
    """Return numbers in single precision, after checking that they are such.

    Raises:
        DatasetError: naming the dtype, shape or value that does not fit.
    """
    _check_numbers(where, array.dtype)
    check_shape(where, array.shape, expected)
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(array, np.float32)
    check_finite(where, floats)
    return floats


def as_flags(
    where: str, array: Shaped[np.ndarray, "..."], num: int | None
) -> Bool[np.ndarray, " step"]:
    """Return a vector of booleans from numbers that are 0 or 1.

    Raises:
        DatasetError: naming the dtype, shape or value that does not fit.
    """
    _check_numbers(where, array.dtype)
    check_shape(where, array.shape, (num,))
    flags = array.astype(bool)
    if array.dtype != bool and not np.array_equal(flags, array):
        wrong = array[flags != array][0]
        raise DatasetError(f"{where} must hold 0 or 1, found {wrong}")
    return flags


def as_lengths(where: str, array: Shaped[np.ndarray, "..."]) -> Int[np.ndarray, " episode"]:
    """Return the lengths of episodes, whole numbers above 0.

    Raises:
        DatasetError: naming the dtype, shape or value that does not fit.
    """
    if array.dtype.kind not in "iu":
        raise DatasetError(f"{where} holds {array.dtype}, expected whole numbers")
    check_shape(where, array.shape, (None,))
    # Unsigned numbers beyond the signed ones would become negative and be found below.
    lengths = array.astype(np.int64)
    if lengths.min() < 1:
        raise DatasetError(f"{where} must be at least 1, found {lengths.min()}: an empty episode")
    return lengths


def squeezed(array: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Return a column `[n, 1]` as the vector `[n]`, everything else as it is."""
    is_column = array.ndim == _OF_ONE_AXIS + 1 and array.shape[1] == 1
    return array[:, 0] if is_column else array


def _check_numbers(where: str, dtype: np.dtype) -> None:
    if dtype.kind not in NUMBERS:
        raise DatasetError(f"{where} holds {dtype}, expected numbers")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
