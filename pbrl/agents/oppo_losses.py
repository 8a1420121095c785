"""The losses of OPPO (Kang et al. 2023, arXiv 2305.16217), as pure functions."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from pbrl.feedback import TIE

NormTerm = Literal["squared", "hinge"]


def distances(
    context: Float[Tensor, " context"], codes: Float[Tensor, "*shape context"]
) -> Float[Tensor, "*shape"]:
    """Return how far codes of behaviour lie from the optimal context."""
    distance: Tensor = torch.linalg.vector_norm(codes - context, dim=-1)
    return distance


def triplet_loss(
    context: Float[Tensor, " context"],
    preferred: Float[Tensor, "query context"],
    other: Float[Tensor, "query context"],
    margin: float = 1.0,
) -> Float[Tensor, " query"]:
    """Return max(0, ||z* - z+|| - ||z* - z-|| + m): the preferred code shall be the nearer one.

    For a context far from all codes the difference of distances tends to (z- - z+) . z* / ||z*||,
    so that this loss alone cannot pull it back.
    """
    return F.relu(distances(context, preferred) - distances(context, other) + margin)


def preference_loss(
    context: Float[Tensor, " context"],
    codes: Float[Tensor, "query two context"],
    labels: Float[Tensor, " query"],
    weights: Float[Tensor, " query"],
    margin: float = 1.0,
) -> Float[Tensor, ""]:
    """Return the weighted mean of the triplet loss over the pairs that are decided; 0 without any.

    A tie has no side. Any other label counts as hard.
    """
    code_0, code_1 = codes.unbind(1)
    is_second = (labels > TIE)[:, None]
    preferred = torch.where(is_second, code_1, code_0)
    other = torch.where(is_second, code_0, code_1)
    counted = weights * (labels != TIE)
    terms = triplet_loss(context, preferred, other, margin)
    return (terms * counted).sum() / counted.sum().clamp(min=torch.finfo(terms.dtype).tiny)


def released_preference_loss(
    context: Float[Tensor, " context"],
    codes: Float[Tensor, "query two context"],
    labels: Float[Tensor, " query"],
    margin: float = 1.0,
) -> Float[Tensor, ""]:
    """Return the loss of the released program for people's labels: a sum over the batch size.

    Of a tie it counts max(0, ||z* - z_0|| - ||z* - z_1||), as if the first segment were at least as
    good; exchanging the two segments of a tie changes it.
    """
    code_0, code_1 = codes.unbind(1)
    is_second = (labels > TIE)[:, None]
    decided = triplet_loss(
        context,
        torch.where(is_second, code_1, code_0),
        torch.where(is_second, code_0, code_1),
        margin,
    )
    tied = triplet_loss(context, code_0, code_1, 0.0)
    return torch.where(labels == TIE, tied, decided).mean()


def norm_loss(codes: Float[Tensor, "*shape context"], term: NormTerm) -> Float[Tensor, ""]:
    """Return the soft constraint on the norm of codes.

    Args:
        codes: of segments.
        term: "squared" is mean (||z|| - 1)^2, the program for scripted labels; "hinge" is
            mean max(0, ||z|| - 1), the one for people's.
    """
    excess = torch.linalg.vector_norm(codes, dim=-1) - 1
    return excess.square().mean() if term == "squared" else F.relu(excess).mean()


def nearest_mean(
    context: Float[Tensor, " context"], codes: Float[Tensor, "code context"], number: int
) -> Float[Tensor, " context"]:
    """Return the mean of the codes nearest to the context."""
    nearest = distances(context, codes).topk(min(number, len(codes)), largest=False).indices
    return codes[nearest].mean(0)
