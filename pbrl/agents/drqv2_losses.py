"""The equations of DrQ-v2 that are its own."""

import torch
from jaxtyping import Float
from torch import Tensor

EDGE = 1e-6  # how far inside [-1, 1] its code keeps noisy actions


def standard_deviation(num_updates: int, bounds: tuple[float, float], duration: int) -> float:
    """Return the noise's standard deviation, which goes linearly from one bound to the other."""
    start, end = bounds
    return start + (end - start) * min(1.0, num_updates / duration)


def clip_to_cube(actions: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return actions cut off to [-1, 1]; the gradient passes as if they were not."""
    cut = actions.detach().clamp(-1.0 + EDGE, 1.0 - EDGE)
    return actions + (cut - actions.detach())


def policy_loss(
    q: Float[Tensor, " batch"],
    means: Float[Tensor, "batch act"],
    actions: Float[Tensor, "batch act"],
    cloning: float | None = None,
) -> Float[Tensor, ""]:
    """Return minus the mean of Q, and beside behaviour cloning alpha / mean |Q| times as much.

    The second is the loss of TD3+BC (Fujimoto and Gu 2021, eq. 5): cloning is the squared distance
    between what the actor does and what was done, averaged over all numbers as in their code.

    Args:
        q: of what the actor does.
        means: what it does.
        actions: what was done.
        cloning: alpha; None leaves cloning out.
    """
    if cloning is None:
        return -q.mean()
    weight = cloning / q.detach().abs().mean().clamp(min=torch.finfo(q.dtype).tiny)
    return (means - actions).square().mean() - weight * q.mean()
