"""Feedback: the append-only record of what was asked and what was answered."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.dataset_identity import DatasetIdentity
from pbrl.feedback_file import (
    INDEX_LIMIT,
    check_labels,
    check_range,
    check_state,
    empty_state,
    read_record,
    write_record,
)
from pbrl.growing import GrowingColumns
from pbrl.last_answers import LastAnswers
from pbrl.segments import SegmentIndex, Segments

TIE = 0.5
_INDEX = ("episode", "start", "length")
_ANSWERS = ("answered", "labels", "weights", "times", "annotator")


@dataclass(frozen=True)
class Queries:
    """Questions on their way to a teacher.

    Attributes:
        ids: row of each query in the feedback store.
        index: where the two segments of each query lie, `[query, 2]`.
        segments: the gathered segments, `[query, 2, time, ...]`.
        recent_return: mean true return of the last training episodes, for adaptive thresholds.
        episode_length: steps of a full episode, likewise.
        step: environment steps so far.
    """

    ids: Int[Tensor, " query"]
    index: SegmentIndex
    segments: Segments
    recent_return: float = 0.0
    episode_length: int = 1
    step: int = 0

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
    Recording an answer and looking at `labelled` costs the same however many there are, unless
    somebody answers a query again: the next look then sorts all answers.

    Args:
        device: where the index and the labels live.

    Attributes:
        notes: what whoever learns from the labels should know of them, such as a doubt.
        dataset: whose episodes the queries name; None for those of a run, or where nobody knows.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._latest: LabelledQueries | None = None  # found when asked for, until the next answer
        self.load_state_dict(empty_state())

    @property
    def num_asked(self) -> int:
        """Queries asked so far; this is what the budget counts."""
        return len(self._queries)

    @property
    def num_labelled(self) -> int:
        """Answers that carry a label, ties included, repeated ones once."""
        return len(self.labelled())

    @property
    def num_skipped(self) -> int:
        """Answers that refused the query."""
        self.labelled()
        return self._num_skipped

    @property
    def num_ties(self) -> int:
        """Answers that found both segments equal."""
        return int((self.labelled().labels == TIE).sum())

    @property
    def annotators(self) -> tuple[str, ...]:
        """Names of everybody who answered, in the order of their first answer."""
        return tuple(self._names)

    def pending(self) -> Int[Tensor, " query"]:
        """Return the ids of queries that nobody has answered yet."""
        waiting = torch.ones(self.num_asked, dtype=torch.bool, device=self._device)
        waiting[self._answers["answered"]] = False
        return waiting.nonzero()[:, 0]

    def index(self, ids: Int[Tensor, " query"]) -> SegmentIndex:
        """Return where the two segments of these queries lie, `[query, 2]`.

        Raises:
            ValueError: if a query was never asked.
        """
        check_range("ids", ids, self.num_asked)
        return SegmentIndex(*(self._queries[name][ids] for name in _INDEX))

    def ask(self, index: SegmentIndex, step: int) -> Int[Tensor, " query"]:
        """Record queries about to be asked and return their ids.

        Args:
            index: the segments, `[query, 2]`.
            step: environment step at which they are asked.

        Raises:
            ValueError: if the index is not one of pairs, or cannot be one of a replay buffer.
        """
        if index.episode.ndim != 2 or index.shape[1] != 2:  # noqa: PLR2004  a pair
            raise ValueError(f"a query is a pair: expected an index [query, 2], got {index.shape}")
        for name in _INDEX:
            check_range(name, getattr(index, name), INDEX_LIMIT)
        ids = torch.arange(self.num_asked, self.num_asked + len(index), device=self._device)
        self._queries.append(**vars(index), asked_at=torch.full_like(ids, step))
        return ids

    def answer(self, answers: Answers) -> None:
        """Record answers, to queries of this session or of an earlier one.

        Raises:
            ValueError: if a label, weight or query id is impossible; nothing is recorded then.
        """
        check_answers(answers, self.num_asked)
        for name in answers.annotators:
            self._names.setdefault(name, len(self._names))
        who = torch.tensor([self._names[name] for name in answers.annotators], dtype=torch.int64)
        self._answers.append(
            answered=answers.ids,
            labels=answers.labels,
            weights=answers.weights,
            times=torch.full((len(answers),), time.time(), dtype=torch.float64),
            annotator=who,
        )
        self._latest = None

    def labelled(self) -> LabelledQueries:
        """Return every answer that carries a label, in the order given.

        A repeated answer stands where it was given last. The same tensors are returned until the
        next answer; later ones leave them as they are, so they may be kept, but not written into.
        """
        if self._latest is None:
            self._count_new_answers()
            index = SegmentIndex(*(self._labelled[name] for name in _INDEX))
            labels, weights = self._labelled["labels"], self._labelled["weights"]
            self._latest = LabelledQueries(index, labels, weights)
        return self._latest

    def _count_new_answers(self) -> None:
        rows, is_all = self._last.look(self._answers["answered"], self._answers["annotator"])
        is_skip = self._answers["labels"][rows].isnan()
        rows = rows[~is_skip]
        queries = self._answers["answered"][rows]
        seen = {name: self._queries[name][queries] for name in _INDEX}
        seen |= {name: self._answers[name][rows] for name in ("labels", "weights")}
        if is_all:
            self._labelled, self._num_skipped = GrowingColumns(**seen), 0
        else:
            self._labelled.append(**seen)
        self._num_skipped += int(is_skip.sum())

    def state_dict(self) -> dict[str, Any]:
        """Return the whole record as tensors and names."""
        # Copies, as a column that has room left would be stored with it.
        return {
            "index": torch.stack([self._queries[name] for name in _INDEX]),
            "asked_at": self._queries["asked_at"].clone(),
            **{name: self._answers[name].clone() for name in _ANSWERS},
            "names": list(self._names),
            **({"notes": list(self.notes)} if self.notes else {}),
            **({"dataset": self.dataset.plain()} if self.dataset else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises:
            ValueError: if the state does not hold together; nothing is restored then.
        """
        check_state(state)
        tensors = {name: state[name].to(self._device) for name in ("index", "asked_at", *_ANSWERS)}
        tensors["times"] = state["times"].cpu()
        index = dict(zip(_INDEX, tensors["index"], strict=True))
        self._queries = GrowingColumns(**index, asked_at=tensors["asked_at"])
        self._answers = GrowingColumns(**{name: tensors[name] for name in _ANSWERS})
        self._names = {name: place for place, name in enumerate(state["names"])}
        self.notes: list[str] = list(state.get("notes", []))
        of = state.get("dataset")
        self.dataset = None if of is None else DatasetIdentity.from_plain(of)
        self._last = LastAnswers()
        self._latest = None

    def save(self, path: Path | str) -> None:
        """Write the record to an `.npz` file, atomically and without pickle."""
        write_record(Path(path), self.state_dict())

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu") -> "FeedbackStore":
        """Read a record written by `save`.

        Raises:
            ValueError: if the file is not such a record, naming the key that does not fit.
            OSError: if the file cannot be read at all.
        """
        store = cls(device)
        store.load_state_dict(read_record(Path(path)))
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
    for name, tensor in (
        ("ids", answers.ids),
        ("labels", answers.labels),
        ("weights", answers.weights),
    ):
        if tensor.ndim != 1:
            raise ValueError(f"{name} of answers must have one axis, got {tuple(tensor.shape)}")
    if answers.ids.is_floating_point():
        raise ValueError(f"ids of answers must be whole numbers, got {answers.ids.dtype}")
    if not all(isinstance(name, str) for name in answers.annotators):
        raise ValueError(f"annotators must be names, got {answers.annotators}")
    check_range("the query of an answer", answers.ids, num_asked)
    check_labels(answers.labels, answers.weights)
