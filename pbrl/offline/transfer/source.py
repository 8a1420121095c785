"""The labelled segments of a source task that one alignment takes."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.feedback import TIE, LabelledQueries
from pbrl.pairs import LabelledPairs, PreferenceData, ScoredSegments, are_ties
from pbrl.segments import SegmentIndex

MOST_ROUNDS = 64  # alignments that no one has asked for


class SourceDraw(NamedTuple):
    """Some source segments and what is known of their pairs.

    Attributes:
        segments: each once.
        pairs: rows of them.
        labels: of the pairs.
        rows: which answers or scores of the source they are; None where it draws them itself.
    """

    segments: SegmentIndex
    pairs: Int[Tensor, "answer two"]
    labels: Float[Tensor, " answer"]
    rows: Int[Tensor, " row"] | None

    @property
    def is_decided(self) -> bool:
        """Whether a label prefers one of its segments."""
        return bool((self.labels != TIE).any())


def check_prefers(preferences: PreferenceData) -> None:
    """Refuse labels that prefer nothing.

    Raises:
        ValueError: if all are ties.
    """
    if are_ties(preferences):
        raise ValueError("all labels of the source are ties: they prefer nothing to carry over")


def rounds_for(preferences: PreferenceData, num_segments: int) -> int:
    """Return how many alignments of so many segments take as many labels as there are.

    At most `MOST_ROUNDS`.
    """
    if isinstance(preferences, ScoredSegments):
        number = -(-len(preferences) // num_segments)
    elif isinstance(preferences, LabelledPairs):
        number = -(-len(preferences) // max(num_segments // 2, 1))
    else:
        return 1
    return min(number, MOST_ROUNDS)


def draw_source(
    preferences: PreferenceData, num_segments: int, generator: torch.Generator
) -> SourceDraw:
    """Return so many random segments of the source, fewer if it has fewer, and their labels."""
    if isinstance(preferences, ScoredSegments):
        number = min(num_segments, len(preferences))
        rows = torch.randperm(len(preferences), generator=generator)[:number]
        pairs = torch.combinations(torch.arange(number))
        labels = preferences.label(rows[pairs]).labels.cpu()
        return SourceDraw(preferences.segments[rows], pairs, labels, rows)
    chosen: Tensor | None = None
    if isinstance(preferences, LabelledPairs):
        labelled = preferences.labelled
        chosen = torch.randperm(len(labelled), generator=generator)[: num_segments // 2]
        labelled = LabelledQueries(
            labelled.index[chosen], labelled.labels[chosen], labelled.weights[chosen]
        )
    else:
        labelled = preferences.draw(num_segments // 2, generator)
    index = labelled.index.to("cpu")
    columns = torch.stack([index.episode, index.start, index.length], -1).view(-1, 3)
    distinct, pairs = torch.unique(columns, dim=0, return_inverse=True)
    segments = SegmentIndex(*distinct.unbind(1))
    return SourceDraw(segments, pairs.view(-1, 2), labelled.labels.cpu(), chosen)


def number_used(preferences: PreferenceData, draws: Sequence[SourceDraw]) -> tuple[int, int] | None:
    """Return how many labels or scores are in one of the draws, and how many there are.

    None where the source draws them itself.
    """
    if not isinstance(preferences, ScoredSegments | LabelledPairs):
        return None
    rows = [draw.rows for draw in draws if draw.rows is not None]
    return len(torch.cat(rows).unique()), len(preferences)
