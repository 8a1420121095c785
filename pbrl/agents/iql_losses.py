"""The losses of Implicit Q-Learning (Kostrikov et al. 2022), as pure functions, unreduced.

Seeds that are trained at once have an axis in front.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def expectile_loss(
    difference: Float[Tensor, "*batch"], expectile: float
) -> Float[Tensor, "*batch"]:
    """Return |tau - 1[u < 0]| u^2: squared error that weighs positive differences by tau.

    Args:
        difference: u, the target minus the estimate.
        expectile: tau in (0, 1); 0.5 is half the squared error.
    """
    weight = torch.where(difference < 0, 1 - expectile, expectile)
    return weight * difference.square()


def advantage_weights(
    advantage: Float[Tensor, "*batch"], inverse_temperature: float, maximum: float
) -> Float[Tensor, "*batch"]:
    """Return min(exp(beta A), maximum), detached: how much each action counts in the regression."""
    return (inverse_temperature * advantage.detach()).exp().clamp(max=maximum)


def bellman_target(
    rewards: Float[Tensor, "*batch"],
    terminated: Float[Tensor, "*batch"],
    next_value: Float[Tensor, "*batch"],
    discount: float,
) -> Float[Tensor, "*batch"]:
    """Return r + gamma (1 - terminated) V(s'), detached."""
    return rewards + discount * (1 - terminated) * next_value.detach()


def value_loss(
    value: Float[Tensor, "*batch"], target_q: Float[Tensor, "*batch"], expectile: float
) -> Float[Tensor, "*batch"]:
    """Return the expectile loss of V(s) against the lower of the target critics, detached."""
    return expectile_loss(target_q.detach() - value, expectile)


def critic_loss(
    q: Float[Tensor, "*seed critic batch"], target: Float[Tensor, "*seed batch"]
) -> Float[Tensor, "*seed batch"]:
    """Return the critics' squared errors, summed over the critics."""
    return (q - target.unsqueeze(-2)).square().sum(-2)


def policy_loss(
    log_prob: Float[Tensor, "*batch"], weights: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return minus the log density of each action times its weight."""
    return -weights * log_prob
