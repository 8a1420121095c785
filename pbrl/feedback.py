"""Feedback: the append-only record of what was asked and what was answered."""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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
    def of(ids: Tensor, labels: Tensor, annotator: str) -> "Answers":
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
