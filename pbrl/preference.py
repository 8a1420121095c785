"""The preference model: a score turns a segment into a number, a loss turns two scores into one.

Scores and losses are pure functions and combine freely. A label y is the probability that segment
1 (the second) is preferred, in [0, 1]; 0.5 is a tie. Every loss is unreduced, takes soft labels and
is finite for scores of plus and minus a thousand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.feedback import TIE

LossName = Literal["logistic", "smoothed", "robust", "hinge", "ipo", "biased"]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`loss(score_0, score_1, label)`: three tensors that broadcast, one value per query."""


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Which loss, and its constants; those that a loss does not use are ignored.

    Attributes:
        name: "logistic" (Bradley-Terry), "smoothed", "robust" (rDPO), "hinge", "ipo" or "biased"
            (CPL).
        scale: beta, positive. The scores are multiplied by it, except in "ipo", where the margin is
            pulled to (y - 1/2) / beta.
        flip_rate: share of labels believed to be flipped, in [0, 0.5); for "smoothed" (B-Pref's
            `label_margin`, Lee et al. 2021) and "robust" (Chowdhury et al. 2024).
        bias: lambda in (0, 1], for "biased"; 0.5 in CPL (Hejna et al. 2024, table 6).
    """

    name: LossName = "logistic"
    scale: float = 1.0
    flip_rate: float = 0.0
    bias: float = 0.5

    def __post_init__(self) -> None:
        if self.scale <= 0:
            raise ValueError(f"scale must be positive, got {self.scale}")
        if not 0 <= self.flip_rate < TIE:
            raise ValueError(f"flip_rate must lie in [0, 0.5), got {self.flip_rate}")
        if not 0 < self.bias <= 1:
            raise ValueError(f"bias must lie in (0, 1], got {self.bias}")
        make_loss(self)


def make_loss(config: LossConfig) -> Loss:
    """Return the configured loss as a function of two scores and a label.

    It takes the scores and not their difference because the biased loss depends on both.

    Raises:
        ValueError: if no loss has this name.
    """
    match config.name:
        case "logistic":
            on_margin: Callable[[Tensor, Tensor], Tensor] = logistic_loss
        case "smoothed":
            on_margin = partial(smoothed_loss, flip_rate=config.flip_rate)
        case "robust":
            on_margin = partial(robust_loss, flip_rate=config.flip_rate)
        case "hinge":
            on_margin = hinge_loss
        case "ipo":
            beta = config.scale
            return lambda score_0, score_1, label: ipo_loss(score_1 - score_0, label, beta)
        case "biased":
            scale, bias = config.scale, config.bias
            return lambda score_0, score_1, label: biased_loss(
                scale * score_0, scale * score_1, label, bias
            )
        case _:
            raise ValueError(f"name must be one of {get_args(LossName)}, got {config.name}")
    return lambda score_0, score_1, label: on_margin(config.scale * (score_1 - score_0), label)


def sum_score(
    values: Float[Tensor, "*shape time"], mask: Bool[Tensor, "*#shape time"]
) -> Float[Tensor, "*shape"]:
    """Return the sum of per-step values over each segment, padding left out.

    With rewards this is the score of Bradley-Terry models (Christiano et al. 2017, eq. 1): a sum,
    neither averaged nor discounted.
    """
    return torch.where(mask, values, 0.0).sum(-1)


def mean_score(
    values: Float[Tensor, "*shape time"], mask: Bool[Tensor, "*#shape time"]
) -> Float[Tensor, "*shape"]:
    """Return the mean of per-step values over each segment, zero for an empty one.

    A departure from Bradley-Terry models of rewards that keeps segments of unequal length
    comparable.
    """
    return sum_score(values, mask) / mask.sum(-1).clamp(min=1)


def logistic_loss(
    margin: Float[Tensor, "*shape"], label: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Return the cross-entropy of soft labels under P(segment 1 preferred) = sigmoid(margin).

    The Bradley-Terry loss, Christiano et al. 2017, eq. 1; `margin` is score_1 - score_0. Both terms
    are kept apart so that a confident, right answer keeps its small loss and gradient, where
    softplus(margin) - label * margin would cancel to zero.
    """
    return label * F.softplus(-margin) + (1 - label) * F.softplus(margin)


def smoothed_loss(
    margin: Float[Tensor, "*shape"], label: Float[Tensor, "*#shape"], flip_rate: float
) -> Float[Tensor, "*shape"]:
    """Return the logistic loss on labels pulled towards a tie.

    A label y becomes y (1 - 2 eps) + eps, so 1 becomes 1 - eps and a tie stays one. Also called
    conservative DPO.
    """
    return logistic_loss(margin, label * (1 - 2 * flip_rate) + flip_rate)


def robust_loss(
    margin: Float[Tensor, "*shape"], label: Float[Tensor, "*#shape"], flip_rate: float
) -> Float[Tensor, "*shape"]:
    """Return the unbiased estimate of the logistic loss under labels flipped at a known rate.

    rDPO, Chowdhury et al. 2024: [(1 - eps) l(m) - eps l(-m)] / (1 - 2 eps) with l(m) = softplus(-m)
    and m the margin in favour of the label; that is the logistic loss on (y - eps) / (1 - 2 eps),
    which leaves [0, 1]. Averaged over the flips it equals the loss on clean labels. It is unbounded
    below: use it with bounded rewards, a regulariser or early stopping.
    """
    return logistic_loss(margin, (label - flip_rate) / (1 - 2 * flip_rate))


def hinge_loss(
    margin: Float[Tensor, "*shape"], label: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """Return y max(0, 1 - margin) + (1 - y) max(0, 1 + margin), as in SLiC (Zhao et al. 2023)."""
    return label * F.relu(1 - margin) + (1 - label) * F.relu(1 + margin)


def ipo_loss(
    margin: Float[Tensor, "*shape"], label: Float[Tensor, "*#shape"], beta: float = 1.0
) -> Float[Tensor, "*shape"]:
    """Return (margin - (y - 1/2) / beta)^2.

    IPO, Azar et al. 2023, in the form for soft labels; a hard label pulls the margin to plus or
    minus 1 / (2 beta). Meant for scores that are means over the steps of a segment.
    """
    return (margin - (label - TIE) / beta).square()


def biased_loss(
    score_0: Float[Tensor, "*shape"],
    score_1: Float[Tensor, "*shape"],
    label: Float[Tensor, "*#shape"],
    bias: float,
) -> Float[Tensor, "*shape"]:
    """Return the logistic loss with the score of the segment not preferred scaled down.

    y l(S1 - lambda S0) + (1 - y) l(S0 - lambda S1) with l(m) = softplus(-m): CPL's conservative
    bias, Hejna et al. 2024, eq. 6. With lambda < 1 the loss falls when both scores rise.
    """
    return label * F.softplus(bias * score_0 - score_1) + (1 - label) * F.softplus(
        bias * score_1 - score_0
    )


def plackett_luce_loss(scores: Float[Tensor, "*shape item"]) -> Float[Tensor, "*shape"]:
    """Return minus the log-likelihood of rankings of K segments, written best first.

    sum_k [logsumexp_{i >= k} S_i - S_k] (Plackett-Luce): the best of what is left is picked, again
    and again. With two items it is the logistic loss.
    """
    of_remaining = scores.flip(-1).logcumsumexp(-1).flip(-1)
    return (of_remaining - scores).sum(-1)


def is_correct(
    margin: Float[Tensor, "*shape"], label: Float[Tensor, "*#shape"]
) -> Bool[Tensor, "*shape"]:
    """Return where the sign of the margin agrees with the label; nowhere on ties.

    Count accuracy over `label != 0.5` only. B-Pref's code (Lee et al. 2021) counts a tie as correct
    whenever segment 0 is predicted, which biases its stopping rule.
    """
    return (margin > 0) & (label > TIE) | (margin < 0) & (label < TIE)


def preference_metrics(
    score_0: Float[Tensor, "*seed query"],
    score_1: Float[Tensor, "*seed query"],
    label: Float[Tensor, "*seed query"],
) -> dict[str, Tensor]:
    """Return the accuracy over labels that are no ties, and the mean scores of either side.

    A rising accuracy says nothing about a policy whose two scores both fall. Among ties segment 0
    counts as preferred.
    """
    decided = (label != TIE).sum(-1).clamp(min=1)
    is_second = label > TIE
    return {
        "accuracy": is_correct(score_1 - score_0, label).sum(-1) / decided,
        "score_preferred": torch.where(is_second, score_1, score_0).mean(-1),
        "score_other": torch.where(is_second, score_0, score_1).mean(-1),
    }
