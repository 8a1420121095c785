"""The file that a feedback record is kept in: `.npz` arrays plus a JSON header, no pickle."""

import io
import json
import lzma
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pbrl.dataset_identity import DatasetIdentity

FORMAT_VERSION = 1
MAX_BYTES = 2**32  # of the unpacked arrays; a record of ten million answers needs a quarter
INDEX_LIMIT = 2**31  # of episodes, starts and lengths, which the replay buffer keeps in 32 bits
_COLUMNS = {  # type and axes of every array
    "index": (torch.int64, 3),
    "asked_at": (torch.int64, 1),
    "answered": (torch.int64, 1),
    "labels": (torch.float32, 1),
    "weights": (torch.float32, 1),
    "times": (torch.float64, 1),
    "annotator": (torch.int64, 1),
}
_OPTIONAL = ("notes", "dataset")  # of the header
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    OSError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def write_record(path: Path, state: dict[str, Any]) -> None:
    """Write a record whole or not at all; an earlier file of that name stays until then."""
    arrays = {name: state[name].cpu().numpy() for name in _COLUMNS}
    told = {name: state[name] for name in _OPTIONAL if state.get(name)}
    header = json.dumps({"format": FORMAT_VERSION, "annotators": state["names"], **told})
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez_compressed(file, header=np.array(header), **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_record(path: Path) -> dict[str, Any]:
    """Read a record written by `write_record`, and trust nothing in it.

    Raises:
        ValueError: if the file is not such a record, naming the key that does not fit.
        OSError: if the file cannot be read at all.
    """
    data = path.read_bytes()
    try:
        arrays = _read_arrays(data)
        header = json.loads(str(arrays.pop("header")))
        if header["format"] != FORMAT_VERSION:
            raise ValueError(f"expected format {FORMAT_VERSION}, found {header['format']!r}")
        if set(arrays) != set(_COLUMNS):
            raise ValueError(f"expected the keys {sorted(_COLUMNS)}, found {sorted(arrays)}")
        state: dict[str, Any] = {name: torch.from_numpy(value) for name, value in arrays.items()}
        state["names"] = header["annotators"]
        state |= {name: header[name] for name in _OPTIONAL if name in header}
        check_state(state)
    except _UNREADABLE as error:
        raise ValueError(f"{path} is not a feedback record: {error}") from error
    return state


def _read_arrays(data: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        raise ValueError(f"it unpacks to {size} bytes, more than the {MAX_BYTES} allowed")
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        return {name: np.asarray(file[name]) for name in file.files}


def empty_state() -> dict[str, Any]:
    """Return the state of a feedback store that nothing was asked of."""
    shapes = {name: (3, 0, 2) if name == "index" else (0,) for name in _COLUMNS}
    state = {name: torch.zeros(shapes[name], dtype=dtype) for name, (dtype, _) in _COLUMNS.items()}
    return {**state, "names": []}


def check_state(state: dict[str, Any]) -> None:
    """Refuse the state of a feedback store that does not hold together.

    Raises:
        ValueError: naming the key, what it holds and what is legal.
    """
    missing = [name for name in (*_COLUMNS, "names") if name not in state]
    if missing:
        raise ValueError(f"the keys {missing} are missing")
    for name, (dtype, ndim) in _COLUMNS.items():
        value = state[name]
        if value.dtype != dtype or value.ndim != ndim:
            raise ValueError(
                f"{name} must be {dtype} with {ndim} axes, found {value.dtype} with {value.ndim}"
            )
    num_asked, num_answers = len(state["asked_at"]), len(state["answered"])
    if state["index"].shape != (3, num_asked, 2):
        raise ValueError(
            f"index must have shape {(3, num_asked, 2)}, found {tuple(state['index'].shape)}"
        )
    for name in ("labels", "weights", "times", "annotator"):
        if len(state[name]) != num_answers:
            raise ValueError(f"{name} must have {num_answers} entries, found {len(state[name])}")
    _check_header(state)
    check_range("index", state["index"], INDEX_LIMIT)
    check_range("answered", state["answered"], num_asked)
    check_range("annotator", state["annotator"], len(state["names"]))
    check_labels(state["labels"], state["weights"])


def _check_header(state: dict[str, Any]) -> None:
    """Refuse names, notes or a dataset that are none."""
    names = state["names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("the annotators must be a list of names")
    notes = state.get("notes", [])
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ValueError("the notes must be a list of texts")
    if state.get("dataset") is not None:
        DatasetIdentity.from_plain(state["dataset"])
    if len(set(names)) != len(names):
        raise ValueError("the annotators must have different names")


def check_range(name: str, value: Tensor, limit: int) -> None:
    """Refuse integers outside [0, limit).

    Raises:
        ValueError: naming the range that came and the legal one.
    """
    if value.numel() and not bool(((value >= 0) & (value < limit)).all()):
        raise ValueError(
            f"{name} must lie in 0 to {limit - 1}, found {int(value.min())} to {int(value.max())}"
        )


def check_labels(labels: Tensor, weights: Tensor) -> None:
    """Refuse labels that are no probabilities and weights that no loss can use.

    Raises:
        ValueError: naming what came and what is legal.
    """
    outside = ~labels.isnan() & ~((labels >= 0) & (labels <= 1))
    if bool(outside.any()):
        raise ValueError(
            "a label is the probability that the second segment is preferred and lies in [0, 1] "
            f"(NaN skips the query), found {float(labels[outside][0])}"
        )
    refused = ~(weights.isfinite() & (weights >= 0))
    if bool(refused.any()):
        raise ValueError(
            f"a weight must be finite and not negative, found {float(weights[refused][0])}"
        )
