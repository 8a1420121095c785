"""What offline learners draw: minibatches of labelled pairs, of transitions and of windows."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeGuard, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.batches import ONE_STEP, BatchSteps
from pbrl.feedback import TIE, LabelledQueries
from pbrl.replay import Batch
from pbrl.segments import SegmentIndex, Segments
from pbrl.windows import WindowBatch, WindowSizes


@dataclass(frozen=True)
class PairBatch:
    """Labelled pairs, gathered; those of several seeds have one more axis in front.

    Attributes:
        segments: `[query, 2, time, ...]`.
        labels: probability that segment 1 (the second) is preferred, in [0, 1]; 0.5 is a tie.
        weights: how much each pair counts in a loss.
        starts: first step of each segment, counted from the start of its episode; None where that
            is not known.
    """

    segments: Segments
    labels: Float[Tensor, "*seed query"]
    weights: Float[Tensor, "*seed query"]
    starts: Int[Tensor, "*seed query two"] | None = None

    def __len__(self) -> int:
        return self.labels.shape[-1]

    def is_preferred(self) -> Bool[Tensor, "*seed query two"]:
        """Return which of the two segments are preferred; of a tie, both."""
        return torch.stack([self.labels <= TIE, self.labels >= TIE], -1)


@dataclass(frozen=True)
class ListBatch:
    """Lists of graded segments, gathered: rankings, ratings, or one dense batch.

    Those of several seeds have one more axis in front.

    Attributes:
        segments: `[list, item, time, ...]`.
        grades: of each segment, comparable within its list; higher is better.
    """

    segments: Segments
    grades: Float[Tensor, "*seed list item"]

    def __len__(self) -> int:
        return self.grades.shape[-2]


@dataclass(frozen=True)
class OfflineBatch:
    """What an offline method learns from in one update; the parts that it did not ask for are None.

    Attributes:
        pairs: labelled pairs of segments.
        transitions: steps of the dataset, labelled or not.
        lists: graded lists of segments.
        windows: of consecutive steps of the dataset, with their places in the episode.
    """

    pairs: PairBatch | None = None
    transitions: Batch | None = None
    lists: ListBatch | None = None
    windows: WindowBatch | None = None


@dataclass(frozen=True, kw_only=True)
class OfflineBatchSizes:
    """What one update of an offline method draws.

    Attributes:
        pairs: labelled pairs; 0 for none.
        transitions: steps of the dataset; 0 for none.
        lists: graded lists of segments; 0 for none.
        items: segments of each list.
        segment_steps: a random window of this many steps is cut from each segment, at the same
            place for a whole batch; None takes whole segments.
        least_steps: how long segments must be to teach anything; they are refused where not even
            the longest is.
        num_timesteps: places that the learner knows for the steps of segments; segments that reach
            further are refused. None for any number.
        places_of: what the places of a segment's steps are counted in, its "episode" or the
            "segment" itself.
        windows: windows of the dataset; None for none.
        steps: how far the transitions reach.
    """

    pairs: int = 0
    transitions: int = 0
    lists: int = 0
    items: int = 0
    segment_steps: int | None = None
    least_steps: int = 1
    num_timesteps: int | None = None
    places_of: Literal["episode", "segment"] = "episode"
    windows: WindowSizes | None = None
    steps: BatchSteps = ONE_STEP

    def __post_init__(self) -> None:
        sizes = (self.pairs, self.transitions, self.lists)
        if min(sizes) < 0 or (sum(sizes) == 0 and self.windows is None):
            raise ValueError(
                "pairs, transitions and lists must not be negative and, without windows, not all "
                f"0, got {self.pairs}, {self.transitions} and {self.lists}"
            )
        if self.lists > 0 and self.items < 2:  # noqa: PLR2004  a pair is the shortest list
            raise ValueError(f"items of a list must be at least 2, got {self.items}")
        if self.segment_steps is not None and self.segment_steps < 1:
            raise ValueError(f"segment_steps must be at least 1, got {self.segment_steps}")


@runtime_checkable
class PreferenceData(Protocol):
    """Preferences between segments of one dataset, from which labelled pairs are drawn."""

    @property
    def segments(self) -> SegmentIndex:
        """Every segment that takes part, `[segment]`, each once."""
        ...

    def draw(self, number: int, generator: torch.Generator) -> LabelledQueries:
        """Draw labelled pairs uniformly with replacement."""
        ...


class LabelledPairs:
    """A fixed set of labelled pairs: sparse comparisons.

    Args:
        labelled: one row per answer; at least one.

    Raises:
        ValueError: if there is no label.
    """

    def __init__(self, labelled: LabelledQueries) -> None:
        if len(labelled) == 0:
            raise ValueError("there is no labelled pair to learn from")
        self.labelled = labelled
        index = labelled.index
        columns = torch.stack([index.episode, index.start, index.length], -1)
        self._segments = SegmentIndex(*torch.unique(columns.view(-1, 3), dim=0).unbind(1))

    def __len__(self) -> int:
        return len(self.labelled)

    @property
    def segments(self) -> SegmentIndex:
        """Every segment that takes part, each once."""
        return self._segments

    def draw(self, number: int, generator: torch.Generator) -> LabelledQueries:
        """Draw labelled pairs uniformly with replacement."""
        labels = self.labelled.labels
        rows = torch.randint(len(labels), (number,), generator=generator, device=generator.device)
        rows = rows.to(labels.device)
        return LabelledQueries(self.labelled.index[rows], labels[rows], self.labelled.weights[rows])


class ScoredSegments:
    """Segments with a score each, any two of which make a pair: dense comparisons.

    The label of a pair is 1 where the second has the higher score, 0 where the first has, and 0.5
    where they are equal (CPL's "rank" data, Hejna et al. 2024).

    Args:
        index: the segments, `[segment]`; at least two.
        scores: higher is better, `[segment]`.

    Raises:
        ValueError: if there are fewer than two segments, their numbers differ, or a score is not
            finite.
    """

    def __init__(self, index: SegmentIndex, scores: Float[Tensor, " segment"]) -> None:
        if len(index) < 2 or len(index) != len(scores):  # noqa: PLR2004  a pair
            raise ValueError(
                f"pairs need at least two segments with one score each, got {len(index)} segments "
                f"and {len(scores)} scores"
            )
        if not bool(scores.isfinite().all()):
            raise ValueError("scores of segments must be finite")
        self.scores = scores
        self._segments = index

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def segments(self) -> SegmentIndex:
        """Every segment that takes part, each once."""
        return self._segments

    def draw(self, number: int, generator: torch.Generator) -> LabelledQueries:
        """Draw pairs of two different segments uniformly with replacement."""
        size, device = len(self.scores), generator.device
        first = torch.randint(size, (number,), generator=generator, device=device)
        offset = torch.randint(1, size, (number,), generator=generator, device=device)
        pairs = torch.stack([first, (first + offset) % size], -1).to(self.scores.device)
        return self.label(pairs)

    def draw_lists(
        self, number: int, items: int, generator: torch.Generator
    ) -> tuple[SegmentIndex, Float[Tensor, "list item"]]:
        """Draw lists of different segments, `[list, item]`, and their scores.

        Raises:
            ValueError: if there are fewer segments than a list takes.
        """
        if items > len(self.scores):
            raise ValueError(f"a list of {items} needs as many segments, got {len(self.scores)}")
        keys = torch.rand(number, len(self.scores), generator=generator, device=generator.device)
        rows = keys.topk(items, sorted=False).indices.to(self.scores.device)
        return self._segments[rows], self.scores[rows]

    def label(self, pairs: Tensor) -> LabelledQueries:
        """Return pairs of segments, given by row `[query, 2]`, with the label of their scores."""
        score_0, score_1 = self.scores[pairs].unbind(-1)
        labels = (torch.sign(score_1 - score_0) + 1) / 2
        return LabelledQueries(self._segments[pairs], labels, torch.ones_like(labels))


def are_ties(preferences: PreferenceData) -> TypeGuard[LabelledPairs | ScoredSegments]:
    """Return whether all labels are ties, or all scores the same: nothing is preferred.

    Of labels that are made as they are asked for it shows when they are.
    """
    if isinstance(preferences, LabelledPairs):
        return bool((preferences.labelled.labels == TIE).all())
    if isinstance(preferences, ScoredSegments):
        return bool((preferences.scores == preferences.scores[0]).all())
    return False
