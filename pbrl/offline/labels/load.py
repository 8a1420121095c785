"""Labels for a learner: read, converted and joined with their dataset in one call."""

import warnings
from pathlib import Path
from typing import NamedTuple

from pbrl.feedback import FeedbackStore
from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.labels.formats import SELF_CONTAINED, detect_format, read_labels
from pbrl.offline.labels.join import StoredPreferences, to_feedback, to_preferences
from pbrl.offline.labels.segment_files import read_pairs, read_scored_segments, segment_dataset
from pbrl.offline.labels.table import LabelTable, ScoreTable


class LabelledDataset(NamedTuple):
    """A dataset and the preferences between its segments."""

    dataset: OfflineDataset
    preferences: StoredPreferences


def load_preferences(
    path: Path | str, dataset: OfflineDataset, score: str | None = None
) -> StoredPreferences:
    """Return the labels of a file or folder of any known kind as learners draw them.

    What a record notes of its labels, such as a doubt, is warned of, and so are labels that name
    episodes without saying of which dataset, since those of another one may be there as well.

    Args:
        path: the labels.
        dataset: what they were given for. Of files that hold their segments, any file with the
            same segments will do: `load_pairs` of the human labels goes with scripted ones.
        score: which score to read from a CPL file; the regret rl_sum by default.

    Raises:
        ValueError: naming the file, the key, what came and what was expected; and, where the labels
            belong to another dataset, which.
        OSError: if the file cannot be opened.
    """
    table = read_labels(path, score=score)
    for note in table.notes if isinstance(table, LabelTable) else ():
        warnings.warn(f"{path}: {note}", RuntimeWarning, stacklevel=2)
    preferences = to_preferences(table, dataset)
    if table.named_by == "episodes" and table.identity is None:
        warnings.warn(
            f"{path} does not say which dataset its labels are of, and they are taken for those of "
            f"{dataset.info.name}; `pbrl label import {path} NEW.npz --dataset DATASET` writes it "
            "down",
            RuntimeWarning,
            stacklevel=2,
        )
    return preferences


def load_feedback(path: Path | str, dataset: OfflineDataset) -> FeedbackStore:
    """Return the labels of a file or folder as a feedback record.

    Raises:
        ValueError: as `load_preferences`, or if the file holds scores instead of labels.
        OSError: if the file cannot be opened.
    """
    table = read_labels(path)
    if isinstance(table, ScoreTable):
        raise ValueError(f"{path} holds scores of segments, from which no record is made")
    return to_feedback(table, dataset)


def load_pairs(path: Path | str, score: str | None = None) -> LabelledDataset:
    """Return a file that holds its segments itself as a dataset and the preferences in it.

    Every distinct segment is an episode of the dataset.

    Args:
        path: pairs with labels (IPL, CPL) or segments with scores (CPL), `.npz`.
        score: which score to read from a CPL file; the regret rl_sum by default.

    Raises:
        ValueError: naming the file, the key, what came and what was expected.
        OSError: if the file cannot be opened.
    """
    path = Path(path)
    kind = detect_format(path)
    if kind not in SELF_CONTAINED:
        raise ValueError(f"{path} is a file of the kind {kind}, which does not hold its segments")
    segments, table = read_pairs(path) if kind == "pairs" else read_scored_segments(path, score)
    dataset = segment_dataset(segments, path)
    return LabelledDataset(dataset, to_preferences(table, dataset))
