"""The critics and the value of IQL, on numbers or behind a trunk on the features of images."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pbrl.encoders import EncoderConfig, TrunkedCritics, make_trunk
from pbrl.networks import EnsembleMLP, mlp


@dataclass(frozen=True, kw_only=True)
class NetworkPlan:
    """What critics and value have in common.

    Attributes:
        num_features: size of an encoded observation.
        hidden_sizes: of the perceptrons.
        initialization: of the perceptrons.
        encoder: of images, whose features each network narrows by a trunk of its own; None for
            numbers.
        generator: source of the initial parameters.
    """

    num_features: int
    hidden_sizes: tuple[int, ...]
    initialization: str
    encoder: EncoderConfig | None
    generator: torch.Generator

    @property
    def width(self) -> int:
        """Size of what a perceptron sees of an observation."""
        return self.num_features if self.encoder is None else self.encoder.num_features

    def value(self) -> nn.Sequential:
        """Return V(s), a number per state."""
        value = mlp(
            (self.width, *self.hidden_sizes, 1),
            initialization=self.initialization,
            generator=self.generator,
        )
        if self.encoder is None:
            return value
        return nn.Sequential(make_trunk(self.num_features, self.width, self.generator), value)

    def critics(self, number: int, action_dim: int) -> nn.Module:
        """Return Q(s, a) of several critics, see `evaluate_critics`."""
        critics = EnsembleMLP(
            number,
            (self.width + action_dim, *self.hidden_sizes, 1),
            initialization=self.initialization,
            generator=self.generator,
        )
        if self.encoder is None:
            return critics
        trunk = make_trunk(self.num_features, self.width, self.generator)
        return TrunkedCritics(trunk, critics, self.num_features)


def evaluate_critics(
    critic: nn.Module,
    observations: Float[Tensor, "*seed batch obs"],
    actions: Float[Tensor, "*seed batch act"],
) -> Float[Tensor, "*seed critic batch"]:
    """Return each critic's Q(s, a), all in one pass."""
    q: Tensor = critic(torch.cat((observations, actions), -1).unsqueeze(-3))
    return q.squeeze(-1)
