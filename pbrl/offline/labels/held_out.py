"""How well a reward model predicts labels that it did not learn from."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pbrl.feedback import TIE, LabelledQueries
from pbrl.pairs import LabelledPairs, ScoredSegments
from pbrl.preference import is_correct
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.segments import SegmentIndex

PAIRS_PER_SEGMENT = 4  # drawn from scored segments


@dataclass(frozen=True, kw_only=True)
class HeldOutConfig:
    """How labels are split and which reward model is fitted.

    Attributes:
        splits: random splits; each fits a reward model from scratch.
        test_share: share of the pairs held out in each split, in (0, 1).
        reward: the reward model.
        learning: how it is fitted; `passes` are over the labels that are not held out.
    """

    splits: int = 10
    test_share: float = 0.2
    reward: RewardConfig = field(default_factory=lambda: RewardConfig(normalize_observations=True))
    learning: RewardLearningConfig = field(default_factory=RewardLearningConfig)

    def __post_init__(self) -> None:
        if self.splits < 1 or not 0 < self.test_share < 1:
            raise ValueError(
                "splits must be at least 1 and test_share lie in (0, 1), got "
                f"{self.splits} and {self.test_share}"
            )


@dataclass(frozen=True, kw_only=True)
class HeldOutAccuracy:
    """What the splits came to.

    Attributes:
        mean: accuracy on held-out preferences, mean over the splits.
        std: standard deviation over the splits. They share labels, so that the error of the mean is
            larger than std / sqrt(splits).
        training: accuracy on the preferences learned from, mean over the splits.
        majority: accuracy of always naming the side that the training labels prefer, likewise.
        held_out: preferences held out per split, ties not counted, mean over the splits.
        accuracies: of each split.
    """

    mean: float
    std: float
    training: float
    majority: float
    held_out: float
    accuracies: tuple[float, ...]


def held_out_accuracy(
    preferences: LabelledPairs | ScoredSegments,
    replay: ReplayBuffer,
    config: HeldOutConfig,
    generator: torch.Generator,
    on_split: Callable[[int], None] = lambda _: None,
) -> HeldOutAccuracy:
    """Fit reward models to random parts of some preferences and judge them on the rest.

    A pair that was labelled several times, in either order, is held out as a whole. Of scored
    segments, segments are held out, and pairs drawn within each part. Ties are learned from and not
    judged.

    Args:
        preferences: labelled pairs or scored segments.
        replay: where the segments lie.
        config: splits and model.
        generator: source of randomness, on the device of the replay buffer.
        on_split: called with the number of splits done.

    Raises:
        ValueError: if no preference is left to learn from or to judge by.
    """
    outcomes = []
    for split in range(config.splits):
        training, test = split_preferences(preferences, config.test_share, generator)
        outcomes.append(_fit_and_judge(training, test, replay, config, generator))
        on_split(split + 1)
    columns = torch.tensor(outcomes, dtype=torch.float64).T  # [measure, split]
    test_accuracy, training_accuracy, majority, held_out = columns
    return HeldOutAccuracy(
        mean=float(test_accuracy.mean()),
        std=float(test_accuracy.std(correction=1)) if config.splits > 1 else 0.0,
        training=float(training_accuracy.mean()),
        majority=float(majority.mean()),
        held_out=float(held_out.mean()),
        accuracies=tuple(test_accuracy.tolist()),
    )


def split_preferences(
    preferences: LabelledPairs | ScoredSegments, test_share: float, generator: torch.Generator
) -> tuple[LabelledQueries, LabelledQueries]:
    """Return pairs to learn from and pairs to judge by, which share no pair.

    Raises:
        ValueError: if there are too few pairs or segments to split.
    """
    if isinstance(preferences, LabelledPairs):
        labelled = preferences.labelled
        pair = _pair_numbers(labelled.index)
        is_test = _choose(int(pair.max()) + 1, test_share, generator)[pair]
        return _rows(labelled, ~is_test), _rows(labelled, is_test)
    is_test = _choose(len(preferences), test_share, generator, least=2)
    training, test = (
        ScoredSegments(preferences.segments[part], preferences.scores[part])
        for part in (~is_test, is_test)
    )
    return (
        training.draw(PAIRS_PER_SEGMENT * len(training), generator),
        test.draw(PAIRS_PER_SEGMENT * len(test), generator),
    )


def _rows(labelled: LabelledQueries, rows: Tensor) -> LabelledQueries:
    return LabelledQueries(labelled.index[rows], labelled.labels[rows], labelled.weights[rows])


def _choose(number: int, share: float, generator: torch.Generator, least: int = 1) -> Tensor:
    """Return a mask of about this share of so many things, with at least `least` in each part."""
    if number < 2 * least:
        raise ValueError(
            f"cannot hold out a part of {number} pairs or segments: there must be {2 * least}"
        )
    num_chosen = min(max(least, round(share * number)), number - least)
    order = torch.randperm(number, generator=generator, device=generator.device)
    return order < num_chosen


def _pair_numbers(index: SegmentIndex) -> Tensor:
    """Return a number for each pair, the same for the same two segments in either order."""
    columns = torch.stack([index.episode, index.start, index.length], -1)  # [query, two, 3]
    _, segment = torch.unique(columns.view(-1, 3), dim=0, return_inverse=True)
    both = segment.view(-1, 2).sort(-1).values
    numbers: Tensor = torch.unique(both, dim=0, return_inverse=True)[1]
    return numbers


def _fit_and_judge(
    training: LabelledQueries,
    test: LabelledQueries,
    replay: ReplayBuffer,
    config: HeldOutConfig,
    generator: torch.Generator,
) -> tuple[float, float, float, int]:
    """Return the accuracy on test and training pairs, the majority's, and how many were judged."""
    decided = test.labels != TIE
    if not bool(decided.any()) or not bool((training.labels != TIE).any()):
        raise ValueError("every label on one side of a split is a tie: there is nothing to judge")
    dims = replay.gather(test.index[:1])
    ensemble = RewardEnsemble(
        config.reward,
        dims.observations.shape[-1],
        dims.actions.shape[-1],
        generator=generator,
    )
    RewardLearner(config.learning, ensemble, generator).fit(training, replay, generator)
    prefers_second = bool((training.labels - TIE).sum() > 0)
    majority = ((test.labels > TIE) == prefers_second)[decided].to(torch.float64).mean()
    return (
        _accuracy(ensemble, test, replay),
        _accuracy(ensemble, training, replay),
        float(majority),
        int(decided.sum()),
    )


@torch.no_grad()
def _accuracy(ensemble: RewardEnsemble, labelled: LabelledQueries, replay: ReplayBuffer) -> float:
    """Return the share of preferences that the mean of the members predicts."""
    decided = labelled.labels != TIE
    segments = replay.gather(labelled.index[decided])
    return_0, return_1 = ensemble.segment_returns(segments).mean(0).unbind(-1)
    labels = labelled.labels[decided].to(return_0.device)
    return float(is_correct(return_1 - return_0, labels).to(torch.float64).mean())
