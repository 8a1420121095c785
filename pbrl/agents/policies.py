"""Policies for offline learning: a tanh mean, and a density that is not squashed."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from pbrl.checks import check_fields
from pbrl.encoders import Encoder, EncoderConfig, make_trunk
from pbrl.networks import mlp
from pbrl.randomness import RandomSource, standard_normal

PolicyKind = Literal["fixed-variance", "gaussian"]


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """The network of a policy; the defaults are those of IQL and IPL (Hejna and Sadigh 2023).

    Attributes:
        kind: "gaussian" has one learned standard deviation per action dimension, the same in every
            state. "fixed-variance" is CPL's (Hejna et al. 2024): its log density is minus the
            squared distance to the mean, without the factor 1/2 and without a constant, and it acts
            by its mean alone.
        hidden_sizes: widths of the hidden layers, ReLU between them. CPL: 512, 512.
        dropout: share of each hidden layer dropped in training mode, in [0, 1). CPL: 0.25.
        log_std_bounds: range of the log standard deviation, which starts at 0.
        initialization: "orthogonal" with gain 1 and zero biases, as CPL and IPL, or "torch".
        encoder: of observations that are flat images; None for numbers. With CPL's the hidden
            layers are 1024, 1024 and the dropout is 0.5.
    """

    kind: PolicyKind = "gaussian"
    hidden_sizes: tuple[int, ...] = (256, 256)
    dropout: float = 0.0
    log_std_bounds: tuple[float, float] = (-5.0, 2.0)
    initialization: Literal["orthogonal", "torch"] = "orthogonal"
    encoder: EncoderConfig | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("kind", " or ".join(get_args(PolicyKind)), self.kind in get_args(PolicyKind)),
            ("hidden_sizes", "positive widths", all(size >= 1 for size in self.hidden_sizes)),
            ("dropout", "in [0, 1)", 0 <= self.dropout < 1),
            ("log_std_bounds", "increasing", self.log_std_bounds[0] < self.log_std_bounds[1]),
            (
                "initialization",
                "orthogonal or torch",
                self.initialization in ("orthogonal", "torch"),
            ),
        )


class Policy(nn.Module):
    """A perceptron from observations to the mean of an action in [-1, 1], and a density around it.

    Args:
        config: the network.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        generator: source of the initial parameters, which are made on its device, and of dropout.

    Attributes:
        log_std: one learned number per action dimension; None in a policy of fixed variance. Seeds
            that are trained at once have one more axis in front, here and in what comes in and out.
        num_features: what `encode` returns for each observation.
    """

    log_std: nn.Parameter | None

    def __init__(
        self,
        config: PolicyConfig,
        observation_dim: int,
        action_dim: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder: Encoder | None = None
        self.trunk: nn.Sequential | None = None
        width = self.num_features = observation_dim
        if config.encoder is not None:
            self.encoder = Encoder(config.encoder, observation_dim, generator)
            width, self.num_features = config.encoder.num_features, self.encoder.num_outputs
            self.trunk = make_trunk(self.num_features, width, generator)
        self.layers = mlp(
            (width, *config.hidden_sizes, action_dim),
            output_activation="tanh",
            dropout=config.dropout,
            initialization=config.initialization,
            generator=generator,
        )
        if config.kind == "gaussian":
            self.log_std = nn.Parameter(torch.zeros(action_dim, device=generator.device))
        else:
            self.register_parameter("log_std", None)

    def encode(self, observations: Real[Tensor, "*batch obs"]) -> Real[Tensor, "*batch feature"]:
        """Return the features of images; observations that are numbers are their own."""
        if self.encoder is None:
            return observations
        features: Tensor = self.encoder(observations)
        return features

    def mean(self, observations: Real[Tensor, "*batch obs"]) -> Float[Tensor, "*batch act"]:
        """Return the mean action, in [-1, 1]; in training mode with dropout."""
        return self.mean_of(self.encode(observations))

    def mean_of(self, features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch act"]:
        """Return the mean action for encoded observations."""
        mean: Tensor = self.layers(features if self.trunk is None else self.trunk(features))
        return mean

    def std(self) -> Float[Tensor, "*seed act"] | None:
        """Return the standard deviation within its bounds; None in a policy of fixed variance."""
        return None if self.log_std is None else self._bounded_log_std(self.log_std).exp()

    def log_prob(
        self, observations: Real[Tensor, "*batch obs"], actions: Float[Tensor, "*batch act"]
    ) -> Float[Tensor, "*batch"]:
        """Return the log density of actions, summed over their dimensions and differentiable.

        In training mode the mean is that of a network with dropout.
        """
        return self.log_prob_of(self.encode(observations), actions)

    def log_prob_of(
        self, features: Float[Tensor, "*batch feature"], actions: Float[Tensor, "*batch act"]
    ) -> Float[Tensor, "*batch"]:
        """Return the log density of actions for encoded observations."""
        mean = self.mean_of(features)
        if self.log_std is None:
            return squared_error_log_density(mean, actions)
        return gaussian_log_density(mean, self._bounded_log_std(self.log_std), actions)

    @torch.no_grad()
    def act(
        self,
        observations: Real[Tensor, "*batch obs"],
        deterministic: bool,
        generator: RandomSource | None = None,
    ) -> Float[Tensor, "*batch act"]:
        """Return the mean action, or a sample cut off at the bounds; always without dropout.

        Args:
            observations: `[*batch, obs]`.
            deterministic: the mean; a policy of fixed variance always acts by it.
            generator: source of the noise, on the device of the observations.
        """
        with evaluating(self):
            mean = self.mean(observations)
        std = self.std()
        if deterministic or std is None:
            return mean
        noise = standard_normal(mean, generator)
        return torch.addcmul(mean, _aligned(std, mean), noise).clamp(-1.0, 1.0)

    def _bounded_log_std(self, log_std: Tensor) -> Tensor:
        return log_std.clamp(*self.config.log_std_bounds)


def make_policy(
    config: PolicyConfig, observation_dim: int, action_dim: int, generator: torch.Generator
) -> Policy:
    """Return a new policy on the generator's device; see `Policy`."""
    return Policy(config, observation_dim, action_dim, generator)


def squared_error_log_density(
    mean: Float[Tensor, "*batch act"], actions: Float[Tensor, "*batch act"]
) -> Float[Tensor, "*batch"]:
    """Return minus the squared distance, which CPL calls the log density of a fixed variance.

    There is no factor 1/2 and no normalising constant (Hejna et al. 2024, their code); with a
    conservative bias below 1 a constant would change the loss.
    """
    return -(mean - actions).square().sum(-1)


def gaussian_log_density(
    mean: Float[Tensor, "*batch act"],
    log_std: Float[Tensor, "*seed act"],
    actions: Float[Tensor, "*batch act"],
) -> Float[Tensor, "*batch"]:
    """Return the log density of a diagonal Gaussian, its constant included."""
    log_std = _aligned(log_std, mean)
    noise = (actions - mean) * torch.exp(-log_std)
    constant = log_std.sum(-1) + 0.5 * mean.shape[-1] * math.log(2 * math.pi)
    return -0.5 * noise.square().sum(-1) - constant


def _aligned(of_action: Tensor, mean: Tensor) -> Tensor:
    """Return numbers per action dimension with axes of size 1 between those of seeds and that."""
    *seeds, action_dim = of_action.shape
    return of_action.view(*seeds, *(1,) * (mean.ndim - of_action.ndim), action_dim)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Leave training mode for a while."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
