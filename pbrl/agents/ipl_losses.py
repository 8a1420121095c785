"""The equations of Inverse Preference Learning (Hejna and Sadigh 2023, arXiv 2305.15363).

Seeds that are trained at once have an axis in front.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def implied_reward(
    q: Float[Tensor, "*seed critic batch"],
    next_value: Float[Tensor, "*seed batch"],
    discount: Float[Tensor, "*seed batch"],
) -> Float[Tensor, "*seed critic batch"]:
    """Return r = Q(s, a) - gamma V(s'), the reward under which Q is right.

    The inverse of the Bellman operator on one transition. The gradient reaches Q alone.

    Args:
        q: of each critic.
        next_value: V(s'), detached here.
        discount: gamma, and 0 where s' is terminal.
    """
    return q - (discount * next_value.detach()).unsqueeze(-2)


def value_bound(discount: Float[Tensor, "*batch"], regularizer: float) -> Float[Tensor, "*batch"]:
    """Return the largest magnitude of V(s') that their code allows, 1 / (c (1 - gamma)).

    200 for c = 0.5 and gamma = 0.99; 1 / c where s' is terminal, though the discount removes such a
    value anyway.
    """
    return 1 / (regularizer * (1 - discount))


def gumbel_loss(
    difference: Float[Tensor, "*batch"], temperature: float, max_exponent: float
) -> Float[Tensor, "*batch"]:
    """Return exp(z) - z - 1 with z = difference / temperature: Gumbel regression, as XQL.

    Its minimum over v of E[loss(q - v)] is the soft maximum temperature * log E[exp(q /
    temperature)] (Garg et al. 2023, arXiv 2301.02328). IPL's paper prints a variant on XQL and its
    code has none, so that the clipping and the constants of this one are not theirs.

    Args:
        difference: Q - V.
        temperature: beta of XQL, positive.
        max_exponent: z is cut off above it, against overflow.
    """
    z = (difference / temperature).clamp(max=max_exponent)
    return torch.exp(z) - z - 1
