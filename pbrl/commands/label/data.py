"""The labels and the dataset that the words of `pbrl label` work on."""

from pathlib import Path

from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.labels.formats import Table, read_labels
from pbrl.offline.labels.join import need_dataset
from pbrl.offline.labels.load import load_pairs
from pbrl.offline.load import load_dataset


def open_labelled(
    labels: Path, dataset: str | None, *, kind: str | None = None, score: str | None = None
) -> tuple[Table, OfflineDataset | None]:
    """Return the labels of a file and what they were given for, if that is known.

    Args:
        labels: file or folder.
        dataset: name or path of the dataset; files that hold their segments need none.
        kind: of the file; found out by default.
        score: which score of a CPL file to take; rl_sum by default.

    Raises:
        ValueError: if a file does not hold what was expected.
        OSError: if one cannot be opened.
    """
    table = read_labels(labels, kind, score)
    if dataset is not None:
        return table, load_dataset(dataset)
    if table.named_by == "content":
        return table, load_pairs(labels, score).dataset
    return table, None


def require_dataset(table: Table, dataset: OfflineDataset | None) -> OfflineDataset:
    """Return the dataset.

    Raises:
        ValueError: if there is none, saying which one is needed and where it comes from.
    """
    if dataset is None:
        raise ValueError(f"{need_dataset(table)}; name it with --dataset")
    return dataset
