"""From steps to tokens: what a transformer reads of observations, actions and what they are for."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pbrl.networks import Linear, initialize


class TokenEmbedding(nn.Module):
    """Makes tokens of the parts of each step, one after the other, as Decision Transformer does.

    Each part goes through a linear layer of its own; a learned vector for the place of the step in
    its episode is added, and the token normalised.

    Args:
        dims: size of each part, in the order of the tokens.
        width: of a token.
        num_timesteps: steps that an episode may have; later ones count as the last.
        generator: source of the initial parameters, on the device of the module: torch's own
            defaults, as in Decision Transformer.
        untimed: parts to which no place is added.

    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(
        self,
        dims: Sequence[int],
        width: int,
        num_timesteps: int,
        *,
        generator: torch.Generator,
        untimed: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if min(*dims, width, num_timesteps) < 1:
            raise ValueError(
                "dims, width and num_timesteps must be positive, got "
                f"{tuple(dims)}, {width} and {num_timesteps}"
            )
        device = generator.device
        self.num_timesteps = num_timesteps
        self.untimed = frozenset(untimed)
        self.parts = nn.ModuleList(new_linear(dim, width, generator) for dim in dims)
        self.place = nn.Parameter(torch.empty(num_timesteps, width, device=device))
        self.place.data.normal_(generator=generator)
        self.norm = nn.LayerNorm(width, device=device)

    @property
    def tokens_per_step(self) -> int:
        """Number of parts."""
        return len(self.parts)

    def forward(
        self,
        parts: Sequence[Float[Tensor, "batch time _"]],
        timesteps: Int[Tensor, "batch time"],
    ) -> Float[Tensor, "batch token width"]:
        """Return the tokens of all steps, in the order of time and within a step of the parts."""
        place = self.place[timesteps.clamp(max=self.num_timesteps - 1)]
        tokens = [
            self._token(number, part, place)
            for number, (_, part) in enumerate(zip(self.parts, parts, strict=True))
        ]
        normed: Tensor = self.norm(torch.stack(tokens, 2).flatten(1, 2))
        return normed

    def arriving(
        self,
        last_before: Float[Tensor, "batch last"],
        parts: Sequence[Float[Tensor, "batch _"]],
        timesteps: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch token width"]:
        """Return the tokens that become known with a step, as many as it has parts.

        Args:
            last_before: last part of the step before; in a first step its token means nothing.
            parts: all parts of the step but the last.
            timesteps: place of the step in its episode.
        """
        places = torch.stack([timesteps - 1, timesteps]).clamp(min=0, max=self.num_timesteps - 1)
        before, now = self.place[places]
        tokens = [self._token(number, part, now) for number, part in enumerate(parts)]
        last = self._token(len(parts), last_before, before)
        normed: Tensor = self.norm(torch.stack([last, *tokens], 1))
        return normed

    def _token(self, number: int, part: Tensor, place: Tensor) -> Tensor:
        token: Tensor = self.parts[number](part)
        return token if number in self.untimed else token + place


def new_linear(num_inputs: int, num_outputs: int, generator: torch.Generator) -> Linear:
    """Return a linear layer with torch's default parameters, on the generator's device."""
    layer: Linear = nn.utils.skip_init(Linear, num_inputs, num_outputs, device=generator.device)
    initialize(layer.weight.data, layer.bias.data, "torch", generator)
    return layer
