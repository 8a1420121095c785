"""Folders of pickled labels that point into a published dataset by row number."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from pbrl.feedback import TIE
from pbrl.offline.labels.pickles import read_pickle
from pbrl.offline.labels.table import LabelTable, convert_codes, label_table, row_pairs

CODES = {0: 0.0, 1: 1.0, -1: TIE}  # 0: the first is preferred, 1: the second, -1: neither
DEFAULT_LENGTH = 100  # steps of a segment where the name of a Preference Transformer file says none
_LABELS = "label_human"
_INDICES = re.compile(r"indices_(?P<second>2_)?(?P<rest>num\d+(?:_q(?P<length>\d+))?)")
_CROWD = re.compile(
    r"(?P<what>human_label|fake_label|indices_1|indices_2)_(?P<rest>domain_[a-z]+_env_(?P<env>.+)"
    r"_num_(?P<count>\d+)_len_(?P<length>\d+)_[0-9a-f]+)\.pkl"
)
_ONE_HOT = {(1.0, 0.0): 0.0, (0.0, 1.0): 1.0, (0.5, 0.5): TIE}


def is_preference_transformer(folder: Path) -> bool:
    """Return whether a folder is one of Preference Transformer or DPPO."""
    return (folder / _LABELS).is_file()


def is_clean_offline_rlhf(folder: Path) -> bool:
    """Return whether a folder is one of Clean-Offline-RLHF."""
    return folder.is_dir() and any(_CROWD.fullmatch(path.name) for path in folder.iterdir())


def read_preference_transformer(folder: Path) -> LabelTable:
    """Read a folder of Preference Transformer (Kim et al. 2023) or DPPO (An et al. 2023).

    It holds `label_human`, `indices_num...` (row of each first segment) and `indices_2_num...`
    (of each second one). Its labels are 0 where the first segment is preferred, 1 where the second
    is and -1 for a tie. There may be more indices than labels: the first ones are labelled. The
    length of a segment stands in the names, `_q50`, and is 100 where it does not.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    found = {path.name: _INDICES.fullmatch(path.name) for path in folder.iterdir()}
    firsts = [match for match in found.values() if match and not match["second"]]
    seconds = [match for match in found.values() if match and match["second"]]
    if len(firsts) != 1 or len(seconds) != 1 or firsts[0]["rest"] != seconds[0]["rest"]:
        raise ValueError(
            f"{folder} must hold {_LABELS} and one pair of files indices_numN, indices_2_numN of "
            f"the same N, found {', '.join(sorted(found))}"
        )
    labels = convert_codes(_numbers(folder / _LABELS), CODES, str(folder), _LABELS)
    first_0, first_1 = (_rows(folder / match[0]) for match in (firsts[0], seconds[0]))
    if len(first_0) != len(first_1) or len(first_0) < len(labels):
        raise ValueError(
            f"{folder}: {len(labels)} labels need as many indices or more, found {len(first_0)} "
            f"in {firsts[0][0]} and {len(first_1)} in {seconds[0][0]}"
        )
    length = int(firsts[0]["length"] or DEFAULT_LENGTH)
    pairs = row_pairs(first_0[: len(labels)], first_1[: len(labels)], length)
    return label_table(
        pairs, "rows", labels, annotator="human", source=str(folder), dataset=folder.name
    )


def read_clean_offline_rlhf(folder: Path) -> LabelTable:
    """Read a folder of Clean-Offline-RLHF (Uni-RLHF, Yuan et al. 2024).

    It holds `human_label_*`, 0 for the first segment, 1 for the second and -1 for a tie, or, of a
    scripted teacher, `fake_label_*`, pairs [1, 0], [0, 1] and [.5, .5]; and `indices_1_*` and
    `indices_2_*`. Human and scripted folders of a task hold the same pairs in another order: match
    them by their segments, never by row.

    Raises:
        ValueError: naming the file and what is wrong with it.
    """
    names = sorted(path.name for path in folder.iterdir())
    matches = {}
    for name in names:
        if match := _CROWD.fullmatch(name):
            matches[match["what"].replace("fake", "human")] = match
    rests = {match["rest"] for match in matches.values()}
    if set(matches) != {"human_label", "indices_1", "indices_2"} or len(rests) != 1:
        raise ValueError(
            f"{folder} must hold one file of labels and the files indices_1 and indices_2 of the "
            f"same name after that, found {', '.join(names)}"
        )
    match = matches["human_label"]
    first_0, first_1 = (_rows(folder / matches[f"indices_{i}"][0]) for i in (1, 2))
    is_scripted = match["what"] == "fake_label"
    labels = (_read_one_hot if is_scripted else _read_codes)(folder / match[0])
    sizes = (len(labels), len(first_0), len(first_1))
    if set(sizes) != {int(match["count"])}:
        raise ValueError(
            f"{folder}: the names promise {match['count']} pairs, found {sizes[0]} labels, "
            f"{sizes[1]} first and {sizes[2]} second segments"
        )
    return label_table(
        row_pairs(first_0, first_1, int(match["length"])),
        "rows",
        labels,
        annotator="script" if is_scripted else "crowd",
        source=str(folder),
        dataset=match["env"],
    )


def _read_codes(path: Path) -> Float[np.ndarray, " query"]:
    return convert_codes(_numbers(path), CODES, str(path.parent), path.name)


def _read_one_hot(path: Path) -> Float[np.ndarray, " query"]:
    """Return labels written as one weight for each segment."""
    array = np.asarray(read_pickle(path))
    if array.ndim != 2 or array.shape[1] != 2:  # noqa: PLR2004  a pair
        raise ValueError(f"{path} must hold one pair of numbers per query, found {array.shape}")
    rows, which = np.unique(array.astype(np.float64), axis=0, return_inverse=True)
    strange = [tuple(row) for row in rows.tolist() if tuple(row) not in _ONE_HOT]
    if strange:
        raise ValueError(f"{path} must hold {sorted(_ONE_HOT)}, found {strange[0]}")
    values = np.array([_ONE_HOT[tuple(row)] for row in rows.tolist()])
    return np.asarray(values[which.reshape(-1)], np.float64)


def _rows(path: Path) -> Int[np.ndarray, " query"]:
    """Return row numbers, checked to be such."""
    array = _numbers(path)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{path} must hold row numbers on one axis, found {array.dtype} of shape {array.shape}"
        )
    if array.size and (array.min() < 0 or array.max() >= 2**62):
        raise ValueError(f"{path} holds rows {array.min()} to {array.max()}; rows count from 0")
    return array.astype(np.int64)


def _numbers(path: Path) -> np.ndarray:
    value = read_pickle(path)
    return np.asarray(value, np.int64) if isinstance(value, list) else value
