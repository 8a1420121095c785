"""Scores that say how informative a query would be, from the margins of an ensemble.

Every score maps margins ``[member, query]`` to one number per query, larger meaning more worth
asking. The margin of a query is return_1 - return_0 of a member, so that the member believes in
segment 1 with probability sigmoid(margin). All scores are symmetric: swapping the two segments
changes nothing. Entropies are in nats. The arithmetic is float64.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

ScoreName = Literal["disagreement", "entropy", "mutual-information"]
Score = Callable[[Tensor], Tensor]


def disagreement(margins: Float[Tensor, "member query"]) -> Float[Tensor, " query"]:
    """Return the standard deviation of the members' probabilities, population form (ddof 0).

    Lee et al. 2021 (B-Pref), disagreement sampling. Zero where all members agree.
    """
    return margins.double().sigmoid().std(0, correction=0)


def entropy(margins: Float[Tensor, "member query"]) -> Float[Tensor, " query"]:
    """Return the mean of the members' binary entropies.

    Lee et al. 2021 (B-Pref), entropy sampling. This is not the entropy of the mean probability:
    members that contradict each other with confidence score low; see `predictive_entropy`.
    """
    size = margins.double().abs()
    member_entropy: Tensor = F.softplus(-size) + size * torch.sigmoid(-size)
    return member_entropy.mean(0)


def predictive_entropy(margins: Float[Tensor, "member query"]) -> Float[Tensor, " query"]:
    """Return the binary entropy of the ensemble's mean probability."""
    margins = margins.double()
    both = torch.stack([margins, -margins]).sigmoid().mean(1)  # [2, query]
    return -torch.xlogy(both, both).sum(0)


def mutual_information(margins: Float[Tensor, "member query"]) -> Float[Tensor, " query"]:
    """Return the information that the answer carries about which member is right.

    `predictive_entropy` less `entropy` (Biyik et al. 2019). Zero where all members agree.
    """
    return (predictive_entropy(margins) - entropy(margins)).clamp_min(0.0)


SCORES: dict[ScoreName, Score] = {
    "disagreement": disagreement,
    "entropy": entropy,
    "mutual-information": mutual_information,
}
"""The scores that a sampler can rank by."""

NEEDS_ENSEMBLE: frozenset[ScoreName] = frozenset({"disagreement", "mutual-information"})
"""Scores that are zero for every query when there is only one member."""


def rank(score: Float[Tensor, " query"]) -> Int[Tensor, " query"]:
    """Return positions from the highest score to the lowest; ties keep their order.

    Scores equal to twelve decimals are ties: that is above the rounding of the arithmetic.
    """
    return score.round(decimals=12).argsort(descending=True, stable=True)
