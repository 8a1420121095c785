"""Observations of any Gymnasium space as vectors, a whole episode at once."""

from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float32

from pbrl.offline.checks import DatasetError
from pbrl.offline.hdf5 import find, read_floats

_IMAGE_AXES = 3


def check_flat(where: str, space: spaces.Space[Any]) -> None:
    """Refuse a space whose elements are no vectors of numbers.

    Raises:
        DatasetError: naming the space; images have no place in a buffer of vectors.
    """
    match space:
        case spaces.Dict():
            for key, part in space.spaces.items():
                check_flat(f"{where}, {key}", part)
        case spaces.Tuple():
            for number, part in enumerate(space.spaces):
                check_flat(f"{where}, entry {number}", part)
        case spaces.Box() if space.dtype == np.uint8 and len(space.shape) == _IMAGE_AXES:
            raise DatasetError(f"{where} holds images {space.shape}; they are not read here")
        case spaces.Box() | spaces.Discrete() | spaces.MultiBinary():
            return
        case _:
            raise DatasetError(f"{where} is {space}, which is not read here")


def read_flat(
    path: Path, group: Any, key: str, space: spaces.Space[Any], num: int
) -> Float32[np.ndarray, "num flat"]:
    """Return `num` elements of a space as vectors, as `gymnasium.spaces.flatten` makes them.

    Boxes are unrolled, discrete numbers become one-hot, and dicts and tuples the concatenation of
    their parts, dicts in the order of the space, which Gymnasium sorts.

    Args:
        path: the file, for messages.
        group: where Minari put them: an array at `key`, or a group of parts.
        key: their name there.
        space: what they are elements of.
        num: how many there must be.

    Raises:
        DatasetError: naming the file, the key, what came and what was expected.
    """
    match space:
        case spaces.Dict():
            parts = [read_flat(path, group, f"{key}/{k}", s, num) for k, s in space.spaces.items()]
            return np.concatenate(parts, 1)
        case spaces.Tuple():
            names = [f"{key}/_index_{number}" for number in range(len(space.spaces))]
            parts = [
                read_flat(path, group, name, part, num)
                for name, part in zip(names, space.spaces, strict=True)
            ]
            return np.concatenate(parts, 1)
        case spaces.Discrete():
            return _one_hot(path, group, key, space, num)
        case _:
            assert space.shape is not None
            return read_floats(path, group, key, (num, *space.shape)).reshape(num, -1)


def _one_hot(
    path: Path, group: Any, key: str, space: spaces.Discrete, num: int
) -> Float32[np.ndarray, "num flat"]:
    numbers = find(path, group, key)
    values = read_floats(path, group, key, (num,)) - float(space.start)
    places = values.astype(np.int64)
    if numbers.dtype.kind not in "iu" or places.min() < 0 or places.max() >= space.n:
        raise DatasetError(
            f"{path}: {numbers.name} must hold whole numbers of {space}, found {numbers.dtype} "
            f"from {places.min() + space.start} to {places.max() + space.start}"
        )
    one_hot = np.zeros((num, int(space.n)), np.float32)
    one_hot[np.arange(num), places] = 1.0
    return one_hot
