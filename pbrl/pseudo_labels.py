"""SURF: pairs that nobody labelled, labelled by the reward where it is sure (Park et al. 2022).

Its numbers were read in its code; its paper was not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.checks import check_fields
from pbrl.crops import Crops, crop_scores, whole_segments
from pbrl.examples import Examples, make_examples
from pbrl.feedback import TIE, LabelledQueries
from pbrl.preference import Loss
from pbrl.replay import ReplayBuffer
from pbrl.rewards import STEPS_IN_CACHE, RewardEnsemble
from pbrl.tally import Tally


@dataclass(frozen=True, kw_only=True)
class PseudoLabelConfig:
    """Pairs without a label beside those with one; the defaults are those of SURF's scripts.

    Attributes:
        threshold: tau, least probability of the preferred segment from which a member takes its own
            prediction for a label, in [0.5, 1]. 0.99; 0.999 for window-open, sweep-into and cheetah
            is said of the paper.
        weight: lambda, of these pairs' loss beside that of the labels, 0 or above.
        batch_ratio: mu, pairs without a label in a gradient step per labelled pair of a full
            minibatch, however few have a label as yet, at least 1.
        pool_ratio: pairs to draw from, per label so far, at least 1: 100 on DMC and 10 on
            Meta-World.
        episodes: the pairs lie in so many of the last ones, at least 1; as many as B-Pref keeps.
    """

    threshold: float = 0.99
    weight: float = 1.0
    batch_ratio: int = 4
    pool_ratio: int = 100
    episodes: int = 100

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("threshold", "in [0.5, 1]", TIE <= self.threshold <= 1),
            ("weight", "0 or above", self.weight >= 0),
            ("batch_ratio", "at least 1", self.batch_ratio >= 1),
            ("pool_ratio", "at least 1", self.pool_ratio >= 1),
            ("episodes", "at least 1", self.episodes >= 1),
        )


def pseudo_labels(
    margin: Float[Tensor, "*shape"], threshold: float
) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
    """Return the label that each margin S1 - S0 predicts, 0 or 1, and whether it is sure of it.

    It is if the preferred segment has a probability of the threshold or more. Neither passes a
    gradient.
    """
    margin = margin.detach()
    return (margin > 0).to(margin.dtype), margin.abs().sigmoid() >= threshold


def draw_unlabelled(
    config: PseudoLabelConfig,
    labelled: LabelledQueries,
    replay: ReplayBuffer,
    generator: torch.Generator,
) -> LabelledQueries:
    """Return random pairs of segments as long as the longest labelled one, all of them ties.

    They are drawn anew in every session, so many for all labels so far; SURF's code draws for the
    new labels and keeps the earlier pairs.
    """
    number, length = config.pool_ratio * len(labelled), int(labelled.index.length.max())
    recent = replay.completed_episodes(last=config.episodes)
    if not bool((replay.episode_lengths(recent) >= length).any()):
        recent = replay.completed_episodes()
    index = replay.sample_segments(2 * number, length, generator, recent).reshape(number, 2)
    ties = torch.full((number,), TIE, device=replay.device)
    return LabelledQueries(index, ties, torch.ones_like(ties))


class PseudoLabels:
    """Lets a reward ensemble learn from pairs that it labels itself, each member by its own view.

    Members may give one pair opposite labels, as in SURF.

    Args:
        config: which pairs, and what they count.
        ensemble: who learns.
        loss: of a pair.
        score: of a segment, see `RewardLearningConfig`.
    """

    def __init__(
        self,
        config: PseudoLabelConfig,
        ensemble: RewardEnsemble,
        loss: Loss,
        score: Literal["sum", "mean"],
    ) -> None:
        self.config = config
        self._ensemble = ensemble
        self._loss = loss
        self._score = score

    def draw(
        self,
        labelled: LabelledQueries,
        replay: ReplayBuffer,
        generator: torch.Generator,
        memory_limit: float,
    ) -> Examples:
        """Return the pairs of a session, see `draw_unlabelled`."""
        drawn = draw_unlabelled(self.config, labelled, replay, generator)
        return make_examples(drawn, replay, self._ensemble, memory_limit)

    def losses(
        self,
        pairs: Examples,
        batch_size: int,
        *,
        crop: Callable[[Tensor], Crops],
        tally: Tally,
        generator: torch.Generator,
    ) -> Iterator[Tensor]:
        """Yield the weighted loss of a minibatch in parts, summed over members.

        The parts add up to the mean over all its pairs, of which those that a member is not sure of
        cost nothing. Labels come from whole segments, the loss from crops.

        Args:
            pairs: to draw from.
            batch_size: labelled pairs in a full minibatch.
            crop: draws crops of segments with so many steps.
            tally: counts how many pairs were labelled.
            generator: draws each member's minibatch.
        """
        members = self._ensemble.num_members
        shape = (members, self.config.batch_ratio * batch_size)
        device = pairs.labels.device
        rows = torch.randint(len(pairs), shape, generator=generator, device=device)
        crops = crop(pairs.windows.lengths[pairs.pairs[rows]])
        size = shape[1]
        if device.type == "cpu":
            size = max(1, STEPS_IN_CACHE // (2 * pairs.windows.horizon))
        for start in range(0, shape[1], size):
            part = slice(start, start + size)
            cropped = Crops(crops.start[:, part], crops.end[:, part])
            loss, num_sure = self._loss_of(pairs, rows[:, part], cropped)
            tally.add_sure(num_sure / rows.numel())
            yield self.config.weight * loss / shape[1]

    def _loss_of(
        self, pairs: Examples, rows: Int[Tensor, "member pair"], crops: Crops
    ) -> tuple[Tensor, Tensor]:
        """Return the sum of the losses that count, and how many do."""
        windows = pairs.pairs[rows]
        rewards = self._ensemble.evaluate(pairs.windows.take(windows))
        whole = whole_segments(pairs.windows.lengths[windows])
        margin = crop_scores(rewards, whole, self._score).diff(dim=-2)[..., 0, 0]
        labels, is_sure = pseudo_labels(margin, self.config.threshold)
        score_0, score_1 = crop_scores(rewards, crops, self._score).unbind(-2)
        losses = self._loss(score_0, score_1, labels[..., None]).mean(-1)
        return torch.where(is_sure, losses, 0.0).sum(), is_sure.sum()
