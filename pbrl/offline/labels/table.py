"""Labels as files hold them: converted to this project's convention, segments not yet looked up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from pbrl.dataset_identity import DatasetIdentity

NamedBy = Literal["rows", "episodes", "content"]
"""How a file names a segment: by its first row in a numbering of the dataset and its length, by
episode, first step and length, or, where the file holds the segments, by a digest of them."""


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """Labelled pairs of segments, one row per answer.

    Attributes:
        segments: what names the two segments of each pair: (row, length), (episode, start, length)
            or (digest,).
        named_by: which of these.
        labels: probability that segment 1 (the second) is preferred, in [0, 1]; 0.5 is a tie and
            NaN a refusal to answer.
        weights: how much each answer counts in a loss.
        annotators: who gave each answer.
        source: the file, for messages.
        dataset: name of the dataset whose rows are meant, where the file tells it.
        num_pending: queries in the file that nobody answered yet.
        times: when each answer was given, in seconds since 1970, where the file tells it.
        notes: what the file says of its labels, such as a doubt.
        identity: the dataset whose episodes are meant, where the file tells it.
    """

    segments: Int[np.ndarray, "answer two key"]
    named_by: NamedBy
    labels: Float[np.ndarray, " answer"]
    weights: Float[np.ndarray, " answer"]
    annotators: tuple[str, ...]
    source: str
    dataset: str | None = None
    num_pending: int = 0
    times: Float[np.ndarray, " answer"] | None = None
    notes: tuple[str, ...] = ()
    identity: DatasetIdentity | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Segments with one score each, any two of which make a pair.

    Attributes:
        segments: what names each segment, as in `LabelTable`.
        named_by: how.
        scores: higher is better.
        source: the file, for messages.
        score_name: which of a file's scores these are.
        identity: as in `LabelTable`.
    """

    segments: Int[np.ndarray, "segment key"]
    named_by: NamedBy
    scores: Float[np.ndarray, " segment"]
    source: str
    score_name: str = "score"
    identity: DatasetIdentity | None = None

    def __len__(self) -> int:
        return len(self.scores)


def row_pairs(
    first_0: Int[np.ndarray, " query"],
    first_1: Int[np.ndarray, " query"],
    length: int,
) -> Int[np.ndarray, "query two key"]:
    """Return the names of pairs of segments of one length, by their first rows."""
    first = np.stack([first_0, first_1], -1).astype(np.int64)
    return np.stack([first, np.full_like(first, length)], -1)


def label_table(
    segments: Int[np.ndarray, "query two key"],
    named_by: NamedBy,
    labels: Float[np.ndarray, " query"],
    *,
    annotator: str,
    source: str,
    dataset: str | None = None,
) -> LabelTable:
    """Return a table in which one annotator gave all answers, with weight one."""
    return LabelTable(
        segments=segments,
        named_by=named_by,
        labels=labels.astype(np.float64),
        weights=np.ones(len(labels)),
        annotators=(annotator,) * len(labels),
        source=source,
        dataset=dataset,
    )


def convert_codes(
    codes: np.ndarray | Sequence[int], meaning: dict[int, float], source: str, key: str
) -> Float[np.ndarray, " query"]:
    """Return the labels that whole-number codes stand for.

    Args:
        codes: what the file holds.
        meaning: the label of each code.
        source: the file, for the message.
        key: what the codes are called, likewise.

    Raises:
        ValueError: if there is another code, or something else than whole numbers on one axis.
    """
    array = np.asarray(codes)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"{source}: {key} must be whole numbers on one axis, found {array.dtype} of shape "
            f"{array.shape}"
        )
    known = np.array(sorted(meaning))
    strange = ~np.isin(array, known)
    if strange.any():
        raise ValueError(
            f"{source}: {key} must be one of {sorted(meaning)}, found {array[strange][0]} at "
            f"position {int(np.flatnonzero(strange)[0])}"
        )
    values = np.array([meaning[int(code)] for code in known])
    return np.asarray(values[np.searchsorted(known, array)], np.float64)
