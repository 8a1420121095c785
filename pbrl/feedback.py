"""Feedback: the append-only record of what was asked and what was answered."""

import json
import os
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.segments import SegmentIndex, Segments

FORMAT_VERSION = 1
TIE = 0.5


@dataclass(frozen=True)
class Queries:
    """Questions on their way to a teacher.

    Attributes:
        ids: row of each query in the feedback store.
        index: where the two segments of each query lie, `[query, 2]`.
        segments: the gathered segments, `[query, 2, time, ...]`.
        recent_return: mean true return of the last training episodes, for adaptive thresholds.
        episode_length: steps of a full episode, likewise.
    """

    ids: Int[Tensor, " query"]
    index: SegmentIndex
    segments: Segments
    recent_return: float = 0.0
    episode_length: int = 1

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Answers:
    """What a teacher said, possibly to queries of an earlier session.

    Attributes:
        ids: the query each answer belongs to.
        labels: probability that segment 1 (the second) is preferred, in [0, 1]; 0.5 is a tie and
            NaN means that the teacher skipped the query.
        weights: how much each answer counts in a loss; ones when not given.
        annotators: name of who answered, one per answer.
    """

    ids: Int[Tensor, " answer"]
    labels: Float[Tensor, " answer"]
    weights: Float[Tensor, " answer"]
    annotators: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def of(
        ids: Int[Tensor, " answer"], labels: Float[Tensor, " answer"], annotator: str
    ) -> "Answers":
        """Return answers of one annotator with weight one."""
        labels = labels.to(torch.float32)
        return Answers(ids, labels, torch.ones_like(labels), (annotator,) * len(ids))


@dataclass(frozen=True)
class LabelledQueries:
    """Answers that carry a label, ready for a learner; one row per answer.

    Attributes:
        index: the two segments, `[answer, 2]`.
        labels: probability that segment 1 is preferred, in [0, 1].
        weights: weight of each answer in the loss.
    """

    index: SegmentIndex
    labels: Float[Tensor, " answer"]
    weights: Float[Tensor, " answer"]

    def __len__(self) -> int:
        return len(self.labels)


class FeedbackStore:
    """Append-only record of queries and answers.

    A query that was asked and not answered yet is an ordinary row, so a teacher may take its time.
    A query may be answered by several annotators; if one annotator answers the same query again,
    the later answer counts. Every query asked costs one unit of the budget, a skipped one too.

    Args:
        device: where the index and the labels live.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._index = SegmentIndex.empty(0, 2, device=device)
        self._asked_at = torch.zeros(0, dtype=torch.int64, device=device)
        self._answered = torch.zeros(0, dtype=torch.int64, device=device)  # query of each answer
        self._labels = torch.zeros(0, device=device)
        self._weights = torch.zeros(0, device=device)
        self._times = torch.zeros(0, dtype=torch.float64)
        self._annotator = torch.zeros(0, dtype=torch.int64, device=device)
        self._names: list[str] = []

    @property
    def num_asked(self) -> int:
        """Queries asked so far; this is what the budget counts."""
        return len(self._asked_at)

    @property
    def num_labelled(self) -> int:
        """Answers that carry a label, ties included, repeated ones once."""
        return len(self.labelled())

    @property
    def num_skipped(self) -> int:
        """Answers that refused the query."""
        return int(self._labels[self._latest()].isnan().sum())

    @property
    def num_ties(self) -> int:
        """Answers that found both segments equal."""
        return int((self._labels[self._latest()] == TIE).sum())

    @property
    def annotators(self) -> tuple[str, ...]:
        """Names of everybody who answered, in the order of their first answer."""
        return tuple(self._names)

    def pending(self) -> Int[Tensor, " query"]:
        """Return the ids of queries that nobody has answered yet."""
        waiting = torch.ones(self.num_asked, dtype=torch.bool, device=self._device)
        waiting[self._answered] = False
        return waiting.nonzero()[:, 0]

    def index(self, ids: Int[Tensor, " query"]) -> SegmentIndex:
        """Return where the two segments of these queries lie, `[query, 2]`."""
        return self._index[ids]

    def ask(self, index: SegmentIndex, step: int) -> Int[Tensor, " query"]:
        """Record queries about to be asked and return their ids.

        Args:
            index: the segments, `[query, 2]`.
            step: environment step at which they are asked.

        Raises:
            ValueError: if the index is not one of pairs.
        """
        if index.episode.ndim != 2 or index.shape[1] != 2:  # noqa: PLR2004  a pair
            raise ValueError(f"a query is a pair: expected an index [query, 2], got {index.shape}")
        ids = torch.arange(self.num_asked, self.num_asked + len(index), device=self._device)
        self._index = SegmentIndex.cat([self._index, index.to(self._device)])
        self._asked_at = torch.cat([self._asked_at, torch.full_like(ids, step)])
        return ids

    def answer(self, answers: Answers) -> None:
        """Record answers, to queries of this session or of an earlier one.

        Raises:
            ValueError: if a label, weight or query id is impossible; nothing is recorded then.
        """
        check_answers(answers, self.num_asked)
        new_names = dict.fromkeys(answers.annotators)
        self._names += [name for name in new_names if name not in self._names]
        who = torch.tensor([self._names.index(name) for name in answers.annotators])
        move = self._device
        self._answered = torch.cat([self._answered, answers.ids.to(move)])
        self._labels = torch.cat([self._labels, answers.labels.to(move)])
        self._weights = torch.cat([self._weights, answers.weights.to(move)])
        self._annotator = torch.cat([self._annotator, who.to(move, torch.int64)])
        now = torch.full((len(answers),), time.time(), dtype=torch.float64)
        self._times = torch.cat([self._times, now])

    def _latest(self) -> Tensor:
        """Rows of the answers that count: of one annotator and query the last one."""
        key = self._answered * max(1, len(self._names)) + self._annotator
        _, group = torch.unique(key, return_inverse=True)
        rows = torch.arange(len(key), device=self._device)
        last = torch.zeros(int(group.max()) + 1 if len(key) else 0, dtype=torch.int64)
        last = last.to(self._device).scatter_reduce(0, group, rows, "amax", include_self=False)
        return last.sort().values

    def labelled(self) -> LabelledQueries:
        """Return every answer that carries a label, in the order given."""
        rows = self._latest()
        rows = rows[~self._labels[rows].isnan()]
        return LabelledQueries(
            self._index[self._answered[rows]], self._labels[rows], self._weights[rows]
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the whole record as tensors and names."""
        return {
            "index": torch.stack([self._index.episode, self._index.start, self._index.length]),
            "asked_at": self._asked_at,
            "answered": self._answered,
            "labels": self._labels,
            "weights": self._weights,
            "times": self._times,
            "annotator": self._annotator,
            "names": list(self._names),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        move = self._device
        self._index = SegmentIndex(*state["index"].to(move).unbind())
        self._asked_at = state["asked_at"].to(move)
        self._answered = state["answered"].to(move)
        self._labels = state["labels"].to(move)
        self._weights = state["weights"].to(move)
        self._times = state["times"].cpu()
        self._annotator = state["annotator"].to(move)
        self._names = list(state["names"])

    def save(self, path: Path | str) -> None:
        """Write the record to an `.npz` file, atomically and without pickle."""
        path = Path(path)
        state = self.state_dict()
        arrays = {name: value.cpu().numpy() for name, value in state.items() if name != "names"}
        header = json.dumps({"format": FORMAT_VERSION, "annotators": state["names"]})
        partial = path.with_name(path.name + ".partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, header=np.array(header), **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu") -> "FeedbackStore":
        """Read a record written by `save`.

        Raises:
            ValueError: if the file is not such a record, naming the key that does not fit.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            header = json.loads(str(arrays.pop("header")))
            if header["format"] != FORMAT_VERSION:
                raise ValueError(
                    f"format {header['format']} was found, this version reads {FORMAT_VERSION}"
                )
            store = cls(device)
            expected = set(store.state_dict()) - {"names"}
            if set(arrays) != expected:
                raise ValueError(f"expected the keys {sorted(expected)}, found {sorted(arrays)}")
            state = {name: torch.from_numpy(value) for name, value in arrays.items()}
            store.load_state_dict(state | {"names": header["annotators"]})
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a feedback record: {error}") from error
        return store


def check_answers(answers: Answers, num_asked: int) -> None:
    """Refuse answers that cannot be right, before anything is recorded.

    Raises:
        ValueError: naming what came and what was expected.
    """
    count = len(answers.ids)
    for name, value in (
        ("labels", answers.labels),
        ("weights", answers.weights),
        ("annotators", answers.annotators),
    ):
        if len(value) != count:
            raise ValueError(f"a teacher answered {count} queries with {len(value)} {name}")
    if count and not bool(((answers.ids >= 0) & (answers.ids < num_asked)).all()):
        raise ValueError(
            f"a teacher answered queries {int(answers.ids.min())} to {int(answers.ids.max())}, "
            f"but only {num_asked} were asked"
        )
    labels = answers.labels
    outside = ~labels.isnan() & ~((labels >= 0) & (labels <= 1))
    if bool(outside.any()):
        raise ValueError(
            "a label is the probability that the second segment is preferred and lies in [0, 1] "
            f"(NaN skips the query); a teacher gave {float(labels[outside][0])}"
        )
    weights = answers.weights
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError("the weights of answers must be finite and not negative")
