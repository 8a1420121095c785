"""The file that scored segments are kept in: an index and scores as NPZ arrays."""

import json
from pathlib import Path

import numpy as np

from pbrl.dataset_identity import DatasetIdentity
from pbrl.offline.files import whole_file
from pbrl.offline.labels.table import ScoreTable
from pbrl.offline.npz import npz_names, read_npz
from pbrl.pairs import ScoredSegments

KEYS = ("index", "scores")
IDENTITY = "dataset"  # bytes of JSON, in files of today
INDEX_COLUMNS = 3  # episode, start, length


def is_scores(names: frozenset[str]) -> bool:
    """Return whether an archive with arrays of these names is such a file."""
    return names - {IDENTITY} == frozenset(KEYS)


def save_scores(
    path: Path | str, scored: ScoredSegments, dataset: DatasetIdentity | None = None
) -> None:
    """Write segments with their scores to an `.npz` file, whole or not at all.

    The array `index` has a row of episode, start and length for each segment, `scores` its score,
    and `dataset` is what tells the dataset, as bytes of JSON.

    Args:
        path: the file.
        scored: the segments.
        dataset: whose episodes they name, so that no other one is taken for it.
    """
    segments = scored.segments
    columns = (segments.episode, segments.start, segments.length)
    arrays = {
        "index": np.stack([column.cpu().numpy() for column in columns], -1),
        "scores": scored.scores.cpu().numpy(),
    }
    if dataset is not None:
        arrays[IDENTITY] = np.frombuffer(json.dumps(dataset.plain()).encode(), np.uint8)
    with whole_file(Path(path)) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_scores(path: Path) -> ScoreTable:
    """Read a file written by `save_scores`.

    Raises:
        ValueError: naming the file, the key, what came and what was expected.
    """
    has_identity = IDENTITY in npz_names(path)
    arrays = read_npz(path, (*KEYS, IDENTITY) if has_identity else KEYS)
    index, scores = arrays["index"], arrays["scores"]
    if index.dtype.kind not in "iu" or index.shape[1:] != (INDEX_COLUMNS,):
        raise ValueError(
            f"{path}: index must hold whole numbers of shape (segment, {INDEX_COLUMNS}), found "
            f"{index.dtype} of shape {index.shape}"
        )
    if scores.shape != (len(index),) or not np.isfinite(scores).all():
        raise ValueError(
            f"{path}: scores must hold one finite number for each of {len(index)} segments, found "
            f"shape {scores.shape}"
        )
    return ScoreTable(
        segments=index.astype(np.int64),
        named_by="episodes",
        scores=scores.astype(np.float64),
        source=str(path),
        identity=_read_identity(path, arrays[IDENTITY]) if has_identity else None,
    )


def _read_identity(path: Path, array: np.ndarray) -> DatasetIdentity:
    try:
        if array.dtype != np.uint8:
            raise ValueError(f"expected bytes of JSON, found {array.dtype}")
        return DatasetIdentity.from_plain(json.loads(array.tobytes()))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {IDENTITY} cannot be read: {error}") from error
