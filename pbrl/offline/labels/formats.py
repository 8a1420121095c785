"""Every kind of file that labels come in, and how each is told from the others."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pbrl.feedback import FeedbackStore
from pbrl.lookup import look_up
from pbrl.offline.labels import folders, segment_files
from pbrl.offline.labels.csv_files import read_csv
from pbrl.offline.labels.records import record_table
from pbrl.offline.labels.scores import is_scores, read_scores
from pbrl.offline.labels.table import LabelTable, ScoreTable
from pbrl.offline.npz import npz_names

SCORES = segment_files.SCORES
RECORD_KEYS = frozenset(("header", "index", "answered", "labels"))
Table = LabelTable | ScoreTable


@dataclass(frozen=True, kw_only=True)
class LabelFormat:
    """A kind of file.

    Attributes:
        convention: what its labels mean, for people.
        matches: whether a path is of this kind, given the names of its arrays if it is an NPZ file.
        read: reads it; a score may be named where the file holds several.
    """

    convention: str
    matches: Callable[[Path, frozenset[str]], bool]
    read: Callable[[Path, str | None], Table]


FORMATS = {
    "record": LabelFormat(
        convention="this project's record: P(second preferred), 0.5 a tie, NaN a refusal",
        matches=lambda _, names: names >= RECORD_KEYS,
        read=lambda path, _: record_table(FeedbackStore.load(path), str(path)),
    ),
    "scores": LabelFormat(
        convention="this project's scored segments: the higher score is preferred",
        matches=lambda _, names: is_scores(names),
        read=lambda path, _: read_scores(path),
    ),
    "pairs": LabelFormat(
        convention="IPL's and CPL's pairs: P(second preferred), 0.5 a tie",
        matches=lambda _, names: names >= frozenset(segment_files.PAIR_KEYS),
        read=lambda path, _: segment_files.read_pairs(path)[1],
    ),
    "cpl": LabelFormat(
        convention="CPL's segments with scores: the higher score is preferred",
        matches=lambda _, names: (
            names >= frozenset(segment_files.SEGMENT_KEYS) and not names.isdisjoint(SCORES)
        ),
        read=lambda path, score: segment_files.read_scored_segments(path, score)[1],
    ),
    "csv": LabelFormat(
        convention="plain CSV: P(second preferred) from 0 to 1, 0.5 a tie, or skip",
        matches=lambda path, _: path.suffix.lower() == ".csv",
        read=lambda path, _: read_csv(path),
    ),
    "preference-transformer": LabelFormat(
        convention="Preference Transformer and DPPO: 0 first preferred, 1 second, -1 tie",
        matches=lambda path, _: folders.is_preference_transformer(path),
        read=lambda path, _: folders.read_preference_transformer(path),
    ),
    "clean-offline-rlhf": LabelFormat(
        convention="Clean-Offline-RLHF: 0 first preferred, 1 second, -1 tie; scripted: one-hot",
        matches=lambda path, _: folders.is_clean_offline_rlhf(path),
        read=lambda path, _: folders.read_clean_offline_rlhf(path),
    ),
}
SELF_CONTAINED = ("pairs", "cpl")  # these hold their segments and are datasets themselves


def check_labels_there(path: Path) -> None:
    """Refuse a path at which there is nothing.

    Raises:
        FileNotFoundError: naming it.
    """
    if not path.exists():
        raise FileNotFoundError(2, "no such file or folder of labels", str(path))


def detect_format(path: Path) -> str:
    """Return the name of the kind of file that a path is.

    Raises:
        ValueError: if it is none that is known, with the list of those that are.
        OSError: if it cannot be opened.
    """
    check_labels_there(path)
    names = _names(path)
    for name, kind in FORMATS.items():
        if kind.matches(path, names):
            return name
    held = ", ".join(sorted(names)) or path.suffix or "a folder of other files"
    known = "; ".join(f"{name} ({kind.convention})" for name, kind in FORMATS.items())
    raise ValueError(f"{path} holds no labels of a known kind, found {held}; known are: {known}")


def is_self_contained(path: Path | str) -> bool:
    """Return whether a path is a file that holds its segments itself and so is its own dataset.

    Raises:
        ValueError: if it is called `.npz` and is no such archive.
    """
    path = Path(path)
    names = _names(path)
    return any(FORMATS[name].matches(path, names) for name in SELF_CONTAINED)


def _names(path: Path) -> frozenset[str]:
    """Return the names of the arrays in a path if it is an NPZ file."""
    return npz_names(path) if path.is_file() and path.suffix == ".npz" else frozenset()


def read_labels(path: Path | str, kind: str | None = None, score: str | None = None) -> Table:
    """Read labels of any known kind, converted to P(second preferred).

    Args:
        path: a file or folder.
        kind: one of `FORMATS`; found out by default.
        score: which score to read from a CPL file; the regret rl_sum by default.

    Raises:
        ValueError: naming the file, the key, what came and what was expected.
        OSError: if the file cannot be opened.
    """
    path = Path(path)
    name = kind or detect_format(path)
    return look_up("kind of label file", name, FORMATS).read(path, score)
