"""The losses and return targets of DTR (Tu et al. 2025, arXiv 2412.09104), as pure functions."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def masked_error(
    predicted: Float[Tensor, "window time _"],
    target: Float[Tensor, "window time _"],
    mask: Bool[Tensor, "window time"],
) -> Float[Tensor, ""]:
    """Return the mean squared error over the steps in the mask and their features."""
    errors = (predicted - target).square().mean(-1)
    return (errors * mask).sum() / mask.sum().clamp(min=1)


def window_targets(
    rewards: Float[Tensor, "window time"],
    bootstrap: Float[Tensor, " window"],
    terminated: Bool[Tensor, " window"],
    discount: float,
    *,
    discard_last: bool = False,
) -> Float[Tensor, "window time"]:
    """Return the n-step target of each step: what follows until the end of its window.

    sum_{i <= j < t} gamma^(j - i) r_j + gamma^(t - i) B, where t is the last step and B its value:
    the bootstrap, or, where the episode has terminated, r_t. The last step's own target is B.

    Args:
        rewards: zero on padding, which is in front.
        bootstrap: value of the last state.
        terminated: whether the last step ended its episode in a terminal state.
        discount: gamma.
        discard_last: of a terminal last step discard the reward, as the released code of DTR does.
    """
    last = torch.zeros_like(bootstrap) if discard_last else rewards[:, -1]
    closing = torch.where(terminated, last, bootstrap)
    values = torch.cat([rewards[:, :-1], closing[:, None]], 1)
    time = torch.arange(rewards.shape[1], device=rewards.device)
    gap = time - time[:, None]  # [i, j]
    powers = torch.where(gap >= 0, discount ** gap.clamp(min=0).to(values.dtype), 0.0)
    return values @ powers.mT


def critic_error(
    q: Float[Tensor, "critic window time"],
    target: Float[Tensor, "window time"],
    mask: Bool[Tensor, "window time"],
) -> Float[Tensor, ""]:
    """Return the squared errors of all steps but the last, their mean summed over the critics."""
    counted = mask.clone()
    counted[:, -1] = False
    errors = (q - target.detach()).square() * counted
    return errors.sum() / counted.sum().clamp(min=1)


def normalized_value(
    q: Float[Tensor, "critic window time"],
    mask: Bool[Tensor, "window time"],
    which: Int[Tensor, ""],
) -> Float[Tensor, ""]:
    """Return the mean of one of two critics over the mean size of the other's, which is detached.

    Args:
        q: values of the policy's actions.
        mask: steps that count.
        which: of the two, 0 or 1; drawn at random for each update.
    """
    mean = (q * mask).sum((-1, -2)) / mask.sum()
    size = (q.detach().abs() * mask).sum((-1, -2)) / mask.sum()
    row = which.view(1)  # a bare number as an index would be waited for
    one, other = mean.index_select(0, row), size.index_select(0, 1 - row)
    return (one / other.clamp(min=torch.finfo(q.dtype).tiny)).squeeze(0)


def coefficient(maximum: float, num_updates: int, over: int | None) -> float:
    """Return eta: it rises linearly from 0 to `maximum` over so many updates; None keeps it."""
    return maximum if over is None else maximum * min(1.0, num_updates / over)


def return_targets(max_return: float, factors: Sequence[float]) -> tuple[float, ...]:
    """Return what an agent may ask for, as multiples of the best return of the dataset.

    Normalised rewards have mean 0, so that the best return may be negative. A plain product would
    then ask for less where it means more; here a factor f asks for max + (f - 1) |max|.
    """
    return tuple(max_return + (factor - 1) * abs(max_return) for factor in factors)


def lowered(
    targets: Float[Tensor, " candidate"], timesteps: Int[Tensor, " env"], num_steps: int
) -> Float[Tensor, "env candidate"]:
    """Return what is left to ask for when no reward is known: equal parts of it are spent per step.

    After `num_steps` nothing is left.
    """
    share = (timesteps / num_steps).clamp(max=1.0)
    return targets * (1 - share)[:, None]
