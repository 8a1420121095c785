"""The equations of soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905, section 5).

Two departures, both B-Pref's (Lee et al. 2021): the critic's error is not halved, and the
temperature's loss is taken in alpha while its optimiser steps in log alpha. Seeds that are trained
at once have an axis in front, and a loss each.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def soft_target(
    rewards: Float[Tensor, "*seed batch"],
    terminated: Float[Tensor, "*seed batch"],
    next_value: Float[Tensor, "*seed batch"],
    discount: float,
) -> Float[Tensor, "*seed batch"]:
    """Return r + gamma V(s'), where a terminal s' is worth nothing.

    The end of a time limit is not terminal.
    """
    return torch.addcmul(rewards, 1 - terminated, next_value, value=discount)


def soft_value(
    q: Float[Tensor, "*seed critic batch"],
    log_prob: Float[Tensor, "*seed batch"],
    temperature: Float[Tensor, "*seed"],
) -> Float[Tensor, "*seed batch"]:
    """Return V(s) = min_i Q_i(s, a) - alpha log pi(a | s), for a drawn from the policy."""
    return q.amin(-2) - temperature.unsqueeze(-1) * log_prob


def critic_loss(
    q: Float[Tensor, "*seed critic batch"], target: Float[Tensor, "*seed batch"]
) -> Float[Tensor, "*seed"]:
    """Return the squared error (Q - y)^2, averaged over the batch and summed over the critics."""
    return (q - target.detach().unsqueeze(-2)).square().mean(-1).sum(-1)


def actor_loss(
    q: Float[Tensor, "*seed critic batch"],
    log_prob: Float[Tensor, "*seed batch"],
    temperature: Float[Tensor, "*seed"],
) -> Float[Tensor, "*seed"]:
    """Return the mean of alpha log pi(a | s) - min_i Q_i(s, a) over the batch."""
    return -soft_value(q, log_prob, temperature.detach()).mean(-1)


def temperature_loss(
    temperature: Float[Tensor, "*seed"],
    log_prob: Float[Tensor, "*seed batch"],
    target_entropy: float,
) -> Float[Tensor, "*seed"]:
    """Return alpha (entropy - target entropy), the entropy estimated by the mean of -log pi."""
    return temperature * (-log_prob.detach().mean(-1) - target_entropy)
