"""Labels from a dataset's true rewards: segments with scores, or pairs judged by a teacher."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.feedback import FeedbackStore, Queries
from pbrl.offline.segment_scores import ScoreName, needs_value, step_contributions
from pbrl.offline.steps import DatasetSteps, dataset_steps
from pbrl.offline.values import ValueFunction
from pbrl.pairs import ScoredSegments
from pbrl.queries.simulated import SimulatedTeacher, TeacherConfig
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

_CHUNK = 1_000  # pairs gathered at once


@dataclass(frozen=True, kw_only=True)
class ScoreConfig:
    """What makes one segment better than another.

    Attributes:
        score: see `pbrl.offline.segment_scores.step_contributions`. CPL: "regret".
        discount: gamma of the discounted scores, in (0, 1].
    """

    score: ScoreName = "regret"
    discount: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount must lie in (0, 1], got {self.discount}")


def draw_segments(
    replay: ReplayBuffer, number: int, length: int, generator: torch.Generator
) -> SegmentIndex:
    """Draw different segments of a dataset, uniformly over all windows inside one episode.

    Hence uniform over time steps, up to the ends of episodes; each window is drawn at most once.

    Args:
        replay: the dataset's episodes.
        number: how many segments.
        length: steps of each.
        generator: source of randomness.

    Raises:
        ValueError: if there are not so many windows.
    """
    if number < 1 or length < 1:
        raise ValueError(f"number and length must be at least 1, got {number} and {length}")
    steps = dataset_steps(replay)
    num_starts = (steps.lengths - length + 1).clamp(min=0)
    bounds = num_starts.cumsum(0)
    total = int(bounds[-1])
    if total < number:
        raise ValueError(
            f"{number} segments of {length} steps were asked for, but the {len(steps.lengths)} "
            f"episodes hold {total} of them, the longest episode {int(steps.lengths.max())} steps"
        )
    order = torch.randperm(total, generator=generator, device=generator.device)
    flat = order[:number].to(bounds.device)
    episode = torch.searchsorted(bounds, flat, right=True)
    start = flat - (bounds - num_starts)[episode]
    return SegmentIndex(episode, start, torch.full_like(start, length))


class Judge:
    """Scores segments of a dataset.

    Args:
        replay: the dataset's episodes.
        config: what makes one segment better than another.
        value: values of states, where the score needs them.

    Raises:
        ValueError: if the score needs values and none are given.
    """

    def __init__(
        self, replay: ReplayBuffer, config: ScoreConfig, value: ValueFunction | None = None
    ) -> None:
        if needs_value(config.score) and value is None:
            raise ValueError(f"the score {config.score} needs a value function")
        self.config = config
        self._steps: DatasetSteps = dataset_steps(replay)
        self._value = value

    def contributions(self, index: SegmentIndex) -> Float[Tensor, "segment time"]:
        """Return what each step adds to the score of its segment, in float64.

        Args:
            index: `[segment]`; steps behind a shorter segment's end contribute nothing.
        """
        rows, mask = self._rows(index)
        values = None if self._value is None else self._values(rows)
        rewards = self._steps.true_rewards[rows]
        return step_contributions(self.config.score, rewards, values, mask, self.config.discount)

    def _rows(
        self, index: SegmentIndex
    ) -> tuple[Int[Tensor, "segment time"], Bool[Tensor, "segment time"]]:
        """Return the dataset's rows of each segment; behind its end its first row stands in."""
        time = torch.arange(int(index.length.max()), device=index.length.device)
        mask = time < index.length[:, None]
        first = self._steps.first_rows[index.episode] + index.start
        return first[:, None] + torch.where(mask, time, 0), mask

    def _values(self, rows: Int[Tensor, "segment time"]) -> Float[Tensor, "segment time"]:
        """Return the value of each row's state, computed once for each different one."""
        assert self._value is not None
        different, place = rows.unique(return_inverse=True)
        return self._value(self._steps.observations[different])[place]


def score_segments(judge: Judge, index: SegmentIndex) -> ScoredSegments:
    """Return segments with their scores, of which any two make a pair: dense labels.

    Args:
        judge: what makes one segment better than another.
        index: the segments, `[segment]`.
    """
    return ScoredSegments(index, judge.contributions(index).sum(-1).float())


def label_pairs(
    judge: Judge,
    replay: ReplayBuffer,
    index: SegmentIndex,
    teacher: SimulatedTeacher,
    generator: torch.Generator,
) -> FeedbackStore:
    """Return pairs of segments with a teacher's answers: sparse labels.

    The teacher judges by what each step contributes to the score, in place of its true reward. Its
    thresholds, where they are fractions of what an episode earns, refer to the dataset's mean.

    Args:
        judge: what makes one segment better than another.
        replay: the dataset's episodes.
        index: the pairs, `[query, 2]`.
        teacher: who answers.
        generator: what the teacher draws from.
    """
    store = FeedbackStore()
    steps = dataset_steps(replay)
    recent_return = float(steps.returns().mean())
    episode_length = round(float(steps.lengths.float().mean()))
    for start in range(0, len(index), _CHUNK):
        part = index[start : start + _CHUNK]
        segments = replay.gather(part)
        contributions = judge.contributions(part.reshape(-1)).unflatten(0, part.shape)
        queries = Queries(
            ids=store.ask(part, step=0),
            index=part,
            segments=replace(segments, true_rewards=contributions.float()),
            recent_return=recent_return,
            episode_length=episode_length,
        )
        store.answer(teacher(queries, generator))
    return store


def fit_teacher(config: TeacherConfig, score: ScoreName) -> TeacherConfig:
    """Return a teacher for a score: thresholds on regret are fractions of its range.

    B-Pref's thresholds are fractions of what an episode earns, which says nothing about regrets.
    """
    return replace(config, threshold_rule="range") if needs_value(score) else config


def decided_agreement(
    scores: Float[Tensor, " segment"],
    other: Float[Tensor, " segment"],
    pairs: Int[Tensor, "query two"],
) -> float:
    """Return the share of pairs that two scores order alike, of those that both decide.

    Args:
        scores: one per segment.
        other: of the same segments.
        pairs: rows of segments.

    Returns:
        The share, NaN if the two decide no pair.
    """
    signs = [torch.sign(score[pairs[:, 1]] - score[pairs[:, 0]]) for score in (scores, other)]
    decided = (signs[0] != 0) & (signs[1] != 0)
    return float((signs[0] == signs[1])[decided].double().mean())
