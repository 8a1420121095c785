"""Losses of lists: K segments with a grade each, of which the higher is preferred.

The scores are those of `pbrl.preference`; a list of two is a pair.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pbrl.preference import Loss, plackett_luce_loss

ListLossName = Literal["all-pairs", "plackett-luce", "lipo"]
ListCompat = Literal["nonzero-mean"]


def list_loss(
    name: ListLossName,
    scores: Float[Tensor, "*shape item"],
    grades: Float[Tensor, "*shape item"],
    loss: Loss,
    *,
    compat: ListCompat | None = None,
) -> Float[Tensor, "*shape"]:
    """Return one value per list.

    Args:
        name: "all-pairs", the mean of `loss` over all pairs of the list; "plackett-luce", the
            likelihood of the order of the grades; or "lipo". The last two are logistic and leave
            `loss` aside.
        scores: of each segment.
        grades: higher is better. Equal grades are ties for "all-pairs", left out by "lipo", and
            stand in their given order for "plackett-luce".
        loss: of a pair.
        compat: see `all_pairs_loss`.
    """
    match name:
        case "all-pairs":
            return all_pairs_loss(scores, grades, loss, compat=compat)
        case "plackett-luce":
            order = grades.argsort(dim=-1, descending=True, stable=True)
            return plackett_luce_loss(scores.gather(-1, order))
        case "lipo":
            return lipo_loss(scores, grades)


def all_pairs_loss(
    scores: Float[Tensor, "*shape item"],
    grades: Float[Tensor, "*shape item"],
    loss: Loss,
    *,
    compat: ListCompat | None = None,
) -> Float[Tensor, "*shape"]:
    """Return the mean of a pair loss over all K (K - 1) / 2 pairs of a list.

    CPL on dense data (Hejna et al. 2024). A pair of equal grades is a tie; their code breaks ties
    by its sort.

    Args:
        scores: of each segment.
        grades: higher is better.
        loss: of a pair.
        compat: "nonzero-mean" divides by the number of terms that log(1 + exp(-margin)) tells from
            zero, as their code. In single precision that leaves out margins above 16.6, so that the
            mean of well separated lists rises to a multiple of the plain one.
    """
    size = scores.shape[-1]
    first, second = torch.triu_indices(size, size, offset=1, device=scores.device)
    terms = loss(
        scores.index_select(-1, first),
        scores.index_select(-1, second),
        (torch.sign(grades[..., second] - grades[..., first]) + 1) / 2,
    )
    if compat is None:
        return terms.mean(-1)
    smallest = torch.finfo(terms.dtype).eps / 2
    return terms.sum(-1) / (terms > smallest).sum(-1).clamp(min=1)


def lipo_loss(
    scores: Float[Tensor, "*shape item"], grades: Float[Tensor, "*shape item"]
) -> Float[Tensor, "*shape"]:
    """Return the LambdaLoss of graded lists, LiPO-lambda (Liu et al. 2024, arXiv 2402.01878).

    sum over grade_i > grade_j of D_ij softplus(S_j - S_i), where D_ij = |G_i - G_j|
    |1 / ln(1 + rank_i) - 1 / ln(1 + rank_j)| with the gain G = 2^grade - 1 and the rank of each
    item by its present score, 1 for the highest. D_ij carries no gradient. For two items graded 0
    and 1 it is the logistic loss times 0.532456.

    Args:
        scores: of each segment.
        grades: in [0, 1], higher is better; pairs of equal grades are left out.
    """
    with torch.no_grad():
        gain = 2**grades - 1
        rank = scores.argsort(-1, descending=True).argsort(-1) + 1
        discount = (1.0 + rank).log().reciprocal()
        is_better = grades[..., :, None] > grades[..., None, :]  # [*shape, item, item]
        weights = is_better * _differences(gain).abs() * _differences(discount).abs()
    return (weights * F.softplus(-_differences(scores))).sum((-2, -1))


def _differences(values: Tensor) -> Tensor:
    return values[..., :, None] - values[..., None, :]
