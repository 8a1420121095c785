"""Labels as plain CSV: what a spreadsheet or a labelling tool of one's own writes."""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pbrl.lookup import suggest
from pbrl.offline.labels.table import LabelTable, NamedBy

EPISODE_COLUMNS = ("episode_0", "start_0", "length_0", "episode_1", "start_1", "length_1")
ROW_COLUMNS = ("start_0", "start_1", "length")
OPTIONAL_COLUMNS = ("weight", "annotator", "time")  # the time is for people and not read
SKIP = "skip"  # in the column of labels: the annotator refused the query
MAX_BYTES = 2**28
MAX_INDEX = 2**31
_UNKNOWN = "unknown"


def read_csv(path: Path) -> LabelTable:
    """Read labels from a CSV file in UTF-8 with a header.

    The segments stand in the columns episode_0, start_0, length_0, episode_1, start_1 and length_1
    (start counts from the beginning of its episode) or, for data whose rows are numbered, in
    start_0, start_1 and length. The column label holds the probability that segment 1 is preferred,
    between 0 and 1, with 0.5 for a tie, or `skip`. The columns weight and annotator may be left
    out: 1 and "unknown".

    Raises:
        ValueError: naming the file, the line and the column, what came and what was expected.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size} bytes; a CSV of labels may have {MAX_BYTES}")
    try:
        lines = csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""), strict=True)
        header = next(lines, [])
        named_by, columns = _layout(header)
        rows = list(_rows(lines, header, columns))
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    numbers = np.array([row[0] for row in rows], np.int64).reshape(len(rows), len(columns))
    if named_by == "rows":
        numbers = numbers[:, [0, 2, 1, 2]]  # start_0, length, start_1, length
    return LabelTable(
        segments=numbers.reshape(len(rows), 2, numbers.shape[1] // 2),
        named_by=named_by,
        labels=np.array([row[1] for row in rows], np.float64),
        weights=np.array([row[2] for row in rows], np.float64),
        annotators=tuple(row[3] for row in rows),
        source=str(path),
    )


def _layout(header: list[str]) -> tuple[NamedBy, tuple[str, ...]]:
    """Return how the header says that segments are named, and the columns that do so."""
    named_by: NamedBy = "rows" if "length" in header else "episodes"
    columns = ROW_COLUMNS if named_by == "rows" else EPISODE_COLUMNS
    legal = (*columns, "label", *OPTIONAL_COLUMNS)
    missing = [name for name in (*columns, "label") if name not in header]
    if missing:
        raise ValueError(f"the columns {', '.join(missing)} are missing; found {header}")
    for name in header:
        if name not in legal:
            raise ValueError(f"unknown column {name!r}{suggest(name, legal)}")
    if len(set(header)) != len(header):
        raise ValueError(f"a column comes twice in {header}")
    return named_by, columns


Row = tuple[list[int], float, float, str]
"""The numbers that name the segments, the label, the weight and the annotator."""


def _rows(lines: Iterator[list[str]], header: list[str], columns: tuple[str, ...]) -> Iterator[Row]:
    for number, line in enumerate(lines, 2):
        if len(line) != len(header):
            raise ValueError(f"line {number} has {len(line)} fields, the header {len(header)}")
        cells = dict(zip(header, line, strict=True))
        index = [_index(cells[name], f"line {number}, {name}") for name in columns]
        label = _label(cells["label"], f"line {number}, label")
        weight = _weight(cells.get("weight", "1"), f"line {number}, weight")
        yield index, label, weight, cells.get("annotator") or _UNKNOWN


def _index(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_INDEX))):
        raise ValueError(f"{where}: expected a whole number from 0 on, found {text[:40]!r}")
    if int(text) >= MAX_INDEX:
        raise ValueError(f"{where}: {text} is too large")
    return int(text)


def _label(text: str, where: str) -> float:
    if text == SKIP:
        return math.nan
    value = _number(text)
    if not 0 <= value <= 1:
        raise ValueError(
            f"{where}: expected the probability that segment 1 is preferred, from 0 to 1, or "
            f"{SKIP}, found {text[:40]!r}"
        )
    return value


def _weight(text: str, where: str) -> float:
    value = _number(text)
    if not (0 <= value < math.inf):
        raise ValueError(f"{where}: expected a number from 0 on, found {text[:40]!r}")
    return value


def _number(text: str) -> float:
    """Return a number, NaN where the text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
