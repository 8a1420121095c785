"""A Gaussian policy squashed by tanh into [-1, 1]: its network, its samples, their density."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from pbrl.networks import mlp

LogStdMode = Literal["tanh", "clamp"]
INSIDE = 1 - 1e-6  # largest magnitude of an action whose density is computed


class TanhGaussian(nn.Module):
    """A perceptron from observations to the mean and log standard deviation before the tanh.

    Args:
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        hidden_sizes: widths of the hidden layers, with ReLU between them.
        log_std_bounds: smallest and largest log standard deviation.
        log_std_mode: see `bounded_log_std`.
        initialization: see `pbrl.networks.initialize`.
        generator: source of the initial parameters.
    """

    def __init__(  # noqa: PLR0913  keyword-only
        self,
        observation_dim: int,
        action_dim: int,
        hidden_sizes: Sequence[int],
        *,
        log_std_bounds: tuple[float, float] = (-5.0, 2.0),
        log_std_mode: LogStdMode = "tanh",
        initialization: str = "orthogonal",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.log_std_bounds = log_std_bounds
        self.log_std_mode = log_std_mode
        self.layers = mlp(
            (observation_dim, *hidden_sizes, 2 * action_dim),
            initialization=initialization,
            generator=generator,
        )

    def forward(
        self, observations: Float[Tensor, "*batch obs"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """Return mean and log standard deviation before the tanh."""
        mean, log_std = self.layers(observations).chunk(2, -1)
        return mean, bounded_log_std(log_std, self.log_std_bounds, self.log_std_mode)


def bounded_log_std(
    log_std: Float[Tensor, "*batch act"], bounds: tuple[float, float], mode: LogStdMode
) -> Float[Tensor, "*batch act"]:
    """Bring a network's output into `bounds`.

    "tanh" rescales its tanh, so that the gradient never vanishes abruptly, as B-Pref (Lee et al.
    2021); "clamp" cuts it off, as stable-baselines3.
    """
    lowest, highest = bounds
    if mode == "clamp":
        return log_std.clamp(lowest, highest)
    half = 0.5 * (highest - lowest)
    return torch.tanh(log_std) * half + (lowest + half)


def squash(
    mean: Float[Tensor, "*batch act"],
    log_std: Float[Tensor, "*batch act"],
    noise: Float[Tensor, "*batch act"],
) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch"]]:
    """Return the actions tanh(mean + std noise) of normal `noise`, and their log density."""
    before = torch.addcmul(mean, log_std.exp(), noise)
    return torch.tanh(before), _log_density(before, noise, log_std)


def log_density(
    mean: Float[Tensor, "*batch act"],
    log_std: Float[Tensor, "*batch act"],
    actions: Float[Tensor, "*batch act"],
) -> Float[Tensor, "*batch"]:
    """Return the log density of given actions in [-1, 1].

    Actions are first moved inside by 1e-6: at the bounds the density is not finite.
    """
    before = torch.atanh(actions.clamp(-INSIDE, INSIDE))
    return _log_density(before, (before - mean) * torch.exp(-log_std), log_std)


def _log_density(before: Tensor, noise: Tensor, log_std: Tensor) -> Tensor:
    """Return the density of the Gaussian minus log det of the tanh, summed over the action.

    log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)), which holds for large u too.
    """
    constant = before.shape[-1] * (0.5 * math.log(2 * math.pi) + 2 * math.log(2))
    varying = 0.5 * noise.square() + log_std - 2 * (before + F.softplus(-2 * before))
    return -varying.sum(-1) - constant
