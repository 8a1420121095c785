"""Pure functions of proximal policy optimization (Schulman et al. 2017, arXiv 1707.06347)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-8  # keeps the division of advantages that are all alike finite


def discounted_sums(
    terms: Float[Tensor, "*seed time env"], factors: Float[Tensor, "*seed time env"]
) -> Float[Tensor, "*seed time env"]:
    """Return x with x[t] = terms[t] + factors[t] x[t + 1], and 0 after the end.

    By doubling: after k rounds every sum holds 2^k terms, so T steps take log2(T) rounds.
    """
    reach, num_steps = 1, terms.shape[-2]
    while reach < num_steps:
        later = F.pad(terms[..., reach:, :], (0, 0, 0, reach))
        terms = torch.addcmul(terms, factors, later)
        factors = factors * F.pad(factors[..., reach:, :], (0, 0, 0, reach))
        reach *= 2
    return terms


def generalized_advantages(  # noqa: PLR0913  keyword-only
    *,
    rewards: Float[Tensor, "*seed time env"],
    values: Float[Tensor, "*seed time env"],
    next_values: Float[Tensor, "*seed time env"],
    terminated: Float[Tensor, "*seed time env"],
    is_last: Bool[Tensor, "*seed time env"],
    discount: float,
    trace: float,
) -> Float[Tensor, "*seed time env"]:
    """Return generalized advantage estimates (Schulman et al. 2016, arXiv 1506.02438, eq. 16).

    Args:
        rewards: of each step, in the order of time.
        values: V of what was seen before the step.
        next_values: V of what came of it; at the end of an episode of its own last observation.
        terminated: 1.0 where nothing comes after the step. An episode that was cut off goes on in
            `next_values`.
        is_last: where the next row belongs to another episode, or there is none: what it says does
            not flow back.
        discount: gamma.
        trace: lambda; 0 gives one-step errors, 1 the sum of rewards minus V.
    """
    errors = rewards + discount * (1 - terminated) * next_values - values
    return discounted_sums(errors, discount * trace * (~is_last).to(errors.dtype))


def standardized(advantages: Float[Tensor, "*seed time env"]) -> Float[Tensor, "*seed time env"]:
    """Return advantages with mean 0 and standard deviation 1 over time and environments."""
    std, mean = torch.std_mean(advantages, (-2, -1), correction=0, keepdim=True)
    return (advantages - mean) / (std + TINY)


def clipped_surrogate(
    log_ratio: Float[Tensor, "*seed batch"], advantages: Float[Tensor, "*seed batch"], clip: float
) -> Float[Tensor, "*seed"]:
    """Return minus the clipped objective (eq. 7), averaged over the batch.

    Args:
        log_ratio: log density of each action minus that by the policy that took it.
        advantages: of the actions.
        clip: epsilon; a ratio further than that from 1 earns nothing more.
    """
    ratio = log_ratio.exp()
    near = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, near * advantages).mean(-1)


def value_loss(
    values: Float[Tensor, "*seed batch"], targets: Float[Tensor, "*seed batch"]
) -> Float[Tensor, "*seed"]:
    """Return half the mean squared error."""
    return 0.5 * (values - targets).square().mean(-1)


def divergence(log_ratio: Float[Tensor, "*seed batch"]) -> Float[Tensor, "*seed"]:
    """Return an estimate of KL(old || new) from actions of the old policy, never negative.

    The mean of (r - 1) - log r, which has the expectation of -log r and less variance.
    """
    return (log_ratio.exp() - 1 - log_ratio).mean(-1)
