"""Labels written for other programs: CSV, Parquet, and pairs that hold their segments."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.files import whole_file
from pbrl.offline.labels.csv_files import EPISODE_COLUMNS, ROW_COLUMNS, SKIP
from pbrl.offline.labels.join import locate
from pbrl.offline.labels.segment_files import ANNOTATOR, WEIGHT
from pbrl.offline.labels.table import LabelTable
from pbrl.segments import Segments

SUFFIXES = (".csv", ".parquet", ".npz")


def export_labels(table: LabelTable, path: Path, dataset: OfflineDataset | None = None) -> None:
    """Write labels in the kind that the ending of `path` names.

    `.csv` and `.parquet` have one row per answer, in the columns of `read_csv`; in Parquet a
    refusal is a missing label. `.npz` holds the segments themselves as IPL's and CPL's files do:
    obs_1, obs_2, action_1, action_2 and label, without the refusals.

    Args:
        table: the labels.
        path: the file to write.
        dataset: with it segments are named by episode, and can be written themselves.

    Raises:
        ValueError: if the ending is another one, or the file cannot be written without the dataset.
        ImportError: if Parquet is asked for and pyarrow is not installed.
    """
    match path.suffix:
        case ".csv":
            _write_csv(columns_of(table, dataset), path)
        case ".parquet":
            _write_parquet(columns_of(table, dataset), path)
        case ".npz":
            _write_pairs(table, path, dataset)
        case suffix:
            raise ValueError(
                f"labels are written as {', '.join(SUFFIXES)}, found {suffix!r} in {path}"
            )


def columns_of(table: LabelTable, dataset: OfflineDataset | None = None) -> dict[str, np.ndarray]:
    """Return the columns of a table, segments named by row or by episode.

    Raises:
        ValueError: if they can be named by neither without the dataset.
    """
    if dataset is not None:
        index = locate(table, dataset)
        columns = [index.episode, index.start, index.length]
        numbers = np.stack([column.cpu().numpy() for column in columns], -1)  # [answer, two, 3]
    elif table.named_by == "episodes":
        numbers = table.segments
    elif table.named_by == "rows":
        return _with_answers(table, _row_columns(table))
    else:
        raise ValueError(f"{table.source} holds its segments itself: export it with its dataset")
    flat = numbers.reshape(len(table), len(EPISODE_COLUMNS))
    return _with_answers(table, dict(zip(EPISODE_COLUMNS, flat.T, strict=True)))


def _row_columns(table: LabelTable) -> dict[str, np.ndarray]:
    (start_0, length), (start_1, length_1) = table.segments.transpose(1, 2, 0)
    if not np.array_equal(length, length_1):
        raise ValueError(f"{table.source}: the two segments of a query have different lengths")
    return dict(zip(ROW_COLUMNS, (start_0, start_1, length), strict=True))


def _with_answers(table: LabelTable, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    columns |= {"label": table.labels, "weight": table.weights}
    columns["annotator"] = np.array(table.annotators, dtype=object)
    if table.times is not None:
        columns["time"] = table.times
    return columns


def _write_csv(columns: dict[str, np.ndarray], path: Path) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    values = {name: column.tolist() for name, column in columns.items()}
    values["label"] = [SKIP if np.isnan(label) else f"{label:.9g}" for label in values["label"]]
    writer.writerows(zip(*values.values(), strict=True))
    with whole_file(path) as file:
        file.write(text.getvalue().encode())


def _write_parquet(columns: dict[str, np.ndarray], path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "Parquet needs pyarrow: pip install 'pbrl[parquet]', or export to .csv"
        ) from error
    arrays: dict[str, Any] = {
        name: pyarrow.array(column, from_pandas=True) for name, column in columns.items()
    }
    with whole_file(path) as file:
        parquet.write_table(pyarrow.table(arrays), file)


def _write_pairs(table: LabelTable, path: Path, dataset: OfflineDataset | None) -> None:
    if dataset is None:
        raise ValueError(f"{path} shall hold the segments: it needs the dataset of {table.source}")
    index = locate(table, dataset)
    given = torch.from_numpy(~np.isnan(table.labels)).to(index.episode.device)
    lengths = index.length.unique()
    if len(lengths) != 1 or not given.any():
        raise ValueError(
            f"pairs in one file need one length and at least one label, found the lengths "
            f"{lengths.tolist()} and {int(given.sum())} labels"
        )
    kept = given.cpu().numpy()
    save_pairs(
        path,
        dataset.replay.gather(index[given]),
        table.labels[kept],
        weights=table.weights[kept],
        annotators=np.array(table.annotators)[kept].tolist(),
    )


def save_pairs(
    path: Path,
    segments: Segments,
    labels: Float[np.ndarray, " query"],
    *,
    weights: Float[np.ndarray, " query"] | None = None,
    annotators: Sequence[str] | None = None,
) -> None:
    """Write labelled pairs with their segments, as IPL's and CPL's files hold them.

    The file is written whole or not at all, and is a dataset of its own for whatever learns from
    pairs.

    Args:
        path: the file to write.
        segments: of one length, `[query, 2, time, ...]`.
        labels: probability that the second segment is preferred.
        weights: how much each label counts; ones by default.
        annotators: who gave each label, if that is known.

    Raises:
        ValueError: if the segments have several lengths, or there is none.
    """
    if len(labels) == 0 or not bool(segments.mask.all()):
        raise ValueError("pairs in one file need one length and at least one label")
    arrays: dict[str, Any] = {"label": labels}
    for place in (0, 1):
        arrays[f"obs_{place + 1}"] = segments.observations[:, place].cpu().numpy()
        arrays[f"action_{place + 1}"] = segments.actions[:, place].cpu().numpy()
    if weights is not None and (weights != 1).any():
        arrays[WEIGHT] = weights
    if annotators is not None:
        arrays[ANNOTATOR] = np.array(annotators, np.str_)
    with whole_file(path) as file:
        np.savez_compressed(file, **arrays)
