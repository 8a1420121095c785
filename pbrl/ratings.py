"""Learning from ratings of single segments, RbRL: White et al. 2024, "Rating-based RL"."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

STEEPNESS = 30.0


def unit_scores(scores: Float[Tensor, "*shape batch"]) -> Float[Tensor, "*shape batch"]:
    """Return scores moved and stretched to [0, 1] within their batch; equal ones become 0.5.

    RbRL compares segments with class boundaries on that scale. Nothing is said in the paper about a
    batch of equal scores, which its formula would divide by zero.
    """
    low, high = scores.amin(-1, keepdim=True), scores.amax(-1, keepdim=True)
    spread = high - low
    is_flat = spread == 0
    return torch.where(is_flat, 0.5, (scores - low) / torch.where(is_flat, 1.0, spread))


def class_boundaries(
    unit: Float[Tensor, "*shape batch"], ratings: Int[Tensor, "*shape batch"], num_classes: int
) -> Float[Tensor, "*shape bound"]:
    """Return the n + 1 boundaries between n classes, from 0 to 1, without gradient.

    Boundary c is the score of rank N_c, where N_c segments are rated below class c: as many
    segments of the batch then lie below it as are rated so. Where nothing is rated below c it is 0;
    the code of White et al. takes the largest score there, by an index of -1.
    """
    with torch.no_grad():
        classes = torch.arange(num_classes + 1, device=unit.device)
        num_below = (ratings[..., None] < classes).sum(-2)  # [*shape, bound]
        bounds = unit.sort(-1).values.gather(-1, (num_below - 1).clamp(min=0))
        bounds = torch.where(num_below == 0, 0.0, bounds)
        bounds[..., -1] = 1.0
        return bounds


def rating_logits(
    unit: Float[Tensor, "*shape batch"],
    bounds: Float[Tensor, "*#shape bound"],
    steepness: float = STEEPNESS,
) -> Float[Tensor, "*shape batch cls"]:
    """Return -k (R - b_c) (R - b_{c+1}) for every class c: highest in the middle of the class.

    Args:
        unit: scores R in [0, 1].
        bounds: ascending, one more than there are classes.
        steepness: k; 30 in the code of White et al.
    """
    score = unit[..., None]
    return -steepness * (score - bounds[..., None, :-1]) * (score - bounds[..., None, 1:])


def rating_loss(
    scores: Float[Tensor, "*shape batch"],
    ratings: Int[Tensor, "*shape batch"],
    num_classes: int,
    steepness: float = STEEPNESS,
) -> Float[Tensor, "*shape batch"]:
    """Return the cross-entropy of the rated class of each segment.

    A positive factor or a constant added to all scores of a batch changes nothing, since they are
    compared on the scale of `unit_scores`; so the loss of a segment depends on its batch.

    Args:
        scores: of the segments, such as their predicted returns.
        ratings: 0 for the worst class.
        num_classes: n.
        steepness: k.
    """
    unit = unit_scores(scores)
    logits = rating_logits(unit, class_boundaries(unit, ratings, num_classes), steepness)
    rated: Tensor = logits.log_softmax(-1).gather(-1, ratings[..., None])[..., 0]
    return -rated
