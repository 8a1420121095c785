"""A nested state as tensors by name plus a JSON tree: what a checkpoint is made of.

Scalars and lists stand in the tree as they are. Everything that JSON would lose is a dict with one
key that says what it is: `{"dict": [[key, value], ...]}` keeps the type and order of its keys,
`{"tuple": [...]}`, and `{"tensor": name}`, `{"array": name}` and `{"number": name}` (a numpy
scalar) point at a tensor.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def flatten(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return the JSON tree of `state` and the tensors it points at, on the CPU.

    Args:
        state: dicts with string or integer keys, lists, tuples, tensors, numpy arrays and scalars,
            numbers, strings, booleans and None, nested at will.

    Raises:
        TypeError: naming the place, if `state` holds anything else.
    """
    flattener = _Flattener()
    return flattener.encode(state, ()), flattener.tensors


class _Flattener:
    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._storages: set[int] = set()

    def encode(self, value: Any, path: tuple[str, ...]) -> Any:
        # numpy's float64 is also a Python float: look for it first, so that it returns as it was.
        if isinstance(value, Tensor | np.ndarray | np.generic):
            return self._encode_array(value, path)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, Mapping):
            return {"dict": [self._encode_item(key, item, path) for key, item in value.items()]}
        if isinstance(value, list | tuple):
            items = [self.encode(item, (*path, str(place))) for place, item in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        raise TypeError(f"cannot store a {type(value).__name__} at {_name(path)}")

    def _encode_item(self, key: Any, value: Any, path: tuple[str, ...]) -> list[Any]:
        if not isinstance(key, str | int):
            raise TypeError(f"cannot store the key {key!r} at {_name(path)}: not str or int")
        return [key, self.encode(value, (*path, str(key)))]

    def _encode_array(self, value: Any, path: tuple[str, ...]) -> dict[str, str]:
        kind = "tensor"
        if isinstance(value, np.ndarray | np.generic):
            kind = "array" if isinstance(value, np.ndarray) else "number"
            value = _from_numpy(np.asarray(value), path)
        return {kind: self._keep(value, path)}

    def _keep(self, tensor: Tensor, path: tuple[str, ...]) -> str:
        """Keep a tensor under a name that says where it came from and that no other has."""
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        if storage in self._storages:
            tensor = tensor.clone()  # the file format refuses tensors that share memory
        self._storages.add(tensor.untyped_storage().data_ptr())
        name = f"{len(self.tensors)}:{_name(path)}"
        self.tensors[name] = tensor
        return name


def _from_numpy(array: np.ndarray, path: tuple[str, ...]) -> Tensor:
    try:
        return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    except TypeError as error:
        raise TypeError(f"cannot store an array of {array.dtype} at {_name(path)}") from error


def _name(path: tuple[str, ...]) -> str:
    return "/".join(path) or "the top"


def unflatten(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the state that `flatten` took apart.

    Raises:
        ValueError: if the tree holds something `flatten` never writes.
    """
    if isinstance(tree, list):
        return [unflatten(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    match kind:
        case "dict":
            return {key: unflatten(value, tensors) for key, value in content}
        case "tuple":
            return tuple(unflatten(item, tensors) for item in content)
        case "tensor":
            return tensors[content]
        case "array":
            return tensors[content].numpy()
        case "number":
            return tensors[content].numpy()[()]
        case _:
            raise ValueError(f"unknown kind of value in a stored state: {kind!r}")
