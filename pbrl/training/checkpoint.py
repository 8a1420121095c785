"""Checkpoints: the state of a run on disk, whole or not there at all.

A checkpoint is a folder `step-000012000` with three files: `state.safetensors` (every tensor),
`state.json` (the rest, and what the state belongs to) and `SHA256SUMS` (checked on loading, also by
`sha256sum -c`). It is written under another name and renamed when it lies on the disk, so a process
killed at any moment leaves the previous one untouched. Nothing in it is unpickled. The name of one
that was written because something went wrong ends in `-error`.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import pbrl
from pbrl.training.files import differences, plain
from pbrl.training.state_tree import flatten, unflatten

FORMAT_VERSION = 1
_TENSORS, _TREE, _SUMS = "state.safetensors", "state.json", "SHA256SUMS"
_ERROR = "-error"
_NAME = re.compile(rf"step-(\d{{9,}})(?:\.(\d+))?({_ERROR})?")
_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT)


class CheckpointMismatchError(ValueError):
    """The checkpoint belongs to another configuration, environment or version."""


class DamagedCheckpointError(ValueError):
    """The checkpoint is incomplete or its checksum is wrong."""


@dataclass(frozen=True, order=True)
class _Place:
    """A complete checkpoint folder; of two at the same step the later revision counts."""

    step: int
    revision: int
    path: Path

    @property
    def is_after_error(self) -> bool:
        return self.path.name.endswith(_ERROR)


def save_checkpoint(  # noqa: PLR0913  keyword-only
    folder: Path,
    state: Any,
    *,
    step: int,
    fingerprint: Mapping[str, Any],
    keep: int = 2,
    after_error: bool = False,
) -> Path:
    """Write a checkpoint and remove all but the newest `keep`, one for each step.

    Those written after an error never push out the newest one that was not, nor stand for its step:
    what led to the error may be in them.

    Args:
        folder: holds the checkpoints of one run; only one process may write there.
        state: nested dicts, lists and tuples of tensors, numpy arrays and JSON values.
        step: environment steps or updates done.
        fingerprint: what the state belongs to (configuration, environment); JSON values. The
            package and format versions are added.
        keep: how many checkpoints stay, at least 1; with 1 another may stay that is newer than the
            newest one written without an error.
        after_error: whether it is written because something went wrong.

    Returns:
        The folder of the new checkpoint.

    Raises:
        OSError: if it cannot be written, for instance on a full disk; earlier ones are intact.
        TypeError: if the state holds something that is none of the above.
    """
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    tree, tensors = flatten(state)
    record = {"step": step, "fingerprint": _complete(fingerprint), "tree": tree}
    folder.mkdir(parents=True, exist_ok=True)
    _clean(folder)
    target = _free_name(folder, step, _ERROR if after_error else "")
    temporary = folder / f".writing-{target.name}"
    try:
        temporary.mkdir()
        save_file(tensors, temporary / _TENSORS)
        (temporary / _TREE).write_text(json.dumps(record), encoding="utf-8")
        # The library keeps its file to its owner; others may read a run as far as the rest of it.
        (temporary / _TENSORS).chmod((temporary / _TREE).stat().st_mode)
        sums = (f"{_sha256(temporary / name)}  {name}\n" for name in (_TENSORS, _TREE))
        (temporary / _SUMS).write_text("".join(sums), encoding="utf-8")
        for name in (_TENSORS, _TREE, _SUMS, "."):
            _sync(temporary / name)
        temporary.rename(target)
        _sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _write_error(error, folder) from error
    _prune(folder, keep)
    return target


def load_checkpoint(folder: Path, fingerprint: Mapping[str, Any] | None) -> tuple[Any, int]:
    """Return the state and step of the newest intact checkpoint; tensors are on the CPU.

    Args:
        folder: where `save_checkpoint` wrote.
        fingerprint: what the state must belong to; None skips the check, as for looking at a run.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        CheckpointMismatchError: naming each field in which the fingerprints differ.
        DamagedCheckpointError: if no checkpoint is intact. When an earlier one is, it is loaded
            with a warning.
    """
    places = _places(folder)
    if not places:
        raise FileNotFoundError(f"there is no checkpoint in {folder}")
    for place in reversed(places):
        try:
            return _read(place, fingerprint)
        except (DamagedCheckpointError, FileNotFoundError) as error:
            warnings.warn(f"{error}; trying the one before it", RuntimeWarning, stacklevel=2)
    raise DamagedCheckpointError(f"none of the {len(places)} checkpoints in {folder} is intact")


def read_checkpoint(path: Path) -> tuple[Any, int]:
    """Return the state and step of one checkpoint, whatever it belongs to.

    Args:
        path: the folder that `save_checkpoint` returned.

    Raises:
        FileNotFoundError: if there is no checkpoint.
        DamagedCheckpointError: if it is not intact.
    """
    return _read(_Place(0, 0, path), None)


def has_checkpoint(folder: Path) -> bool:
    """Return whether `folder` holds a checkpoint."""
    return bool(_places(folder))


def newest_checkpoint(folder: Path, *, after_error: bool = True) -> Path | None:
    """Return the newest checkpoint in `folder`, intact or not; None if there is none.

    Args:
        folder: where `save_checkpoint` wrote.
        after_error: whether one written after an error counts.
    """
    places = [place for place in _places(folder) if after_error or not place.is_after_error]
    return places[-1].path if places else None


def _read(place: _Place, fingerprint: Mapping[str, Any] | None) -> tuple[Any, int]:
    _check_sums(place.path)
    record = json.loads((place.path / _TREE).read_text(encoding="utf-8"))
    if fingerprint is not None:
        _check_fingerprint(record["fingerprint"], _complete(fingerprint), place.path)
    tensors = load_file(place.path / _TENSORS)
    # The file is mapped into memory; a copy stays valid whatever happens to the file.
    state = unflatten(record["tree"], {name: tensor.clone() for name, tensor in tensors.items()})
    return state, int(record["step"])


def _check_sums(path: Path) -> None:
    lines = (path / _SUMS).read_text(encoding="utf-8").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in (_TENSORS, _TREE):
        if sums.get(name) != _sha256(path / name):
            raise DamagedCheckpointError(f"the checkpoint {path} is damaged: {name} has changed")


def _check_fingerprint(stored: Any, present: Any, path: Path) -> None:
    lines = differences(stored, present)
    if lines:
        raise CheckpointMismatchError(
            f"the checkpoint {path} belongs to something else (stored -> now):\n  "
            + "\n  ".join(lines)
            + "\nGo on with the stored values, or start a new run in another folder."
        )


def _complete(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    return {**plain(fingerprint), "package": pbrl.__version__, "format": FORMAT_VERSION}


def _places(folder: Path) -> list[_Place]:
    """Return the finished checkpoints, oldest first."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match:
            found.append(_Place(int(match[1]), int(match[2] or 0), path))
    return sorted(found)


def _free_name(folder: Path, step: int, ending: str) -> Path:
    """Return a name no checkpoint has: replacing one of the same step would not be atomic."""
    revisions = [place.revision for place in _places(folder) if place.step == step]
    suffix = f".{max(revisions) + 1}" if revisions else ""
    return folder / f"step-{step:09d}{suffix}{ending}"


def _prune(folder: Path, keep: int) -> None:
    places = _places(folder)
    staying = _staying(places, keep)
    for place in places:
        if place in staying:
            continue
        # Renamed first, so that a removal cut short never looks like a checkpoint.
        place.path.rename(folder / f".removing-{place.path.name}")
    _clean(folder)


def _staying(places: Sequence[_Place], keep: int) -> list[_Place]:
    """Return which checkpoints stay, oldest first; `places` is in that order."""
    latest = {(place.step, place.is_after_error): place for place in places}
    kept = sorted(latest.values())
    sound = [place for place in kept if not place.is_after_error][-1:]
    newest = kept[-keep:]
    if not set(sound) <= set(newest):
        newest = sound + kept[-max(keep - 1, 1) :]
    return newest


def _clean(folder: Path) -> None:
    """Remove what an interrupted process left behind."""
    for pattern in (".writing-*", ".removing-*"):
        for path in folder.glob(pattern):
            shutil.rmtree(path, ignore_errors=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, lie on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_error(error: Exception, folder: Path) -> OSError:
    """Return an error that says what happened and what is left."""
    number = error.errno if isinstance(error, OSError) else None
    is_full = number in _DISK_IS_FULL or "No space left" in str(error)
    places = _places(folder)
    left = f"the checkpoint of step {places[-1].step} is intact" if places else "there is none yet"
    reason = "the disk is full; free some space and resume" if is_full else str(error)
    return OSError(
        errno.ENOSPC if is_full else number or errno.EIO,
        f"cannot write a checkpoint: {reason} ({left})",
        str(folder),
    )
