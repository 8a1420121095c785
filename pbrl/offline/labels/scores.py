"""The file that scored segments are kept in: an index and scores as NPZ arrays."""

from pathlib import Path

import numpy as np

from pbrl.offline.files import whole_file
from pbrl.offline.labels.table import ScoreTable
from pbrl.offline.npz import read_npz
from pbrl.pairs import ScoredSegments

KEYS = ("index", "scores")
INDEX_COLUMNS = 3  # episode, start, length


def save_scores(path: Path | str, scored: ScoredSegments) -> None:
    """Write segments with their scores to an `.npz` file, whole or not at all.

    The array `index` has a row of episode, start and length for each segment, `scores` its score.
    """
    segments = scored.segments
    columns = (segments.episode, segments.start, segments.length)
    index = np.stack([column.cpu().numpy() for column in columns], -1)
    with whole_file(Path(path)) as file:
        np.savez_compressed(file, index=index, scores=scored.scores.cpu().numpy())


def read_scores(path: Path) -> ScoreTable:
    """Read a file written by `save_scores`.

    Raises:
        ValueError: naming the file, the key, what came and what was expected.
    """
    arrays = read_npz(path, KEYS)
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
    )
