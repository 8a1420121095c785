"""OPPO's hindsight information encoder, and the windows whose codes are looked at when acting."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pbrl.sequences import TokenEmbedding, new_linear
from pbrl.transformer import Transformer, TransformerConfig

Pooling = Literal["mean", "sum", "sum-all"]
PADDED_ACTION = -10.0  # what the released code fills up actions with
ENCODED_AT_ONCE = 256


class HindsightEncoder(nn.Module):
    """Maps a segment to a code of the behaviour in it, whatever its length and padding.

    Args:
        config: of a bidirectional transformer.
        dims: sizes of an observation and of an action.
        context_dim: size of a code.
        num_timesteps: rows of the table of places.
        pooling: "mean" or "sum" of what the steps' tokens come to; "sum-all" adds those of padding
            as well, as the released code does, so that the code depends on how much there is.
        generator: source of the initial parameters, and of dropout.
    """

    def __init__(
        self,
        config: TransformerConfig,
        dims: tuple[int, int],
        context_dim: int,
        *,
        num_timesteps: int,
        pooling: Pooling,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.embedding = TokenEmbedding(dims, config.width, num_timesteps, generator=generator)
        self.transformer = Transformer(config, generator)
        self.head = new_linear(config.width, context_dim, generator)

    def forward(
        self,
        observations: Float[Tensor, "segment time obs"],
        actions: Float[Tensor, "segment time act"],
        timesteps: Int[Tensor, "segment time"],
        mask: Bool[Tensor, "segment time"],
    ) -> Float[Tensor, "segment context"]:
        """Return the code of each segment."""
        if self.pooling == "sum-all":
            actions = actions.masked_fill(~mask[..., None], PADDED_ACTION)
        tokens = self.embedding((observations, actions), timesteps)
        seen = mask.repeat_interleave(2, 1)
        outputs = self.transformer(tokens, seen)
        if self.pooling != "sum-all":
            outputs = outputs * seen[..., None]
        pooled = outputs.sum(1)
        if self.pooling == "mean":
            pooled = pooled / seen.sum(1, keepdim=True)
        code: Tensor = self.head(pooled)
        return code


class RecentWindows(nn.Module):
    """The last windows that were learned from, as buffers that are saved with the agent.

    Args:
        number: how many are kept.
        steps: of a window.
        dims: sizes of an observation and of an action.
        device: where they live.
    """

    observations: Tensor
    actions: Tensor
    timesteps: Tensor
    mask: Tensor
    count: Tensor

    def __init__(
        self, number: int, steps: int, dims: tuple[int, int], device: torch.device
    ) -> None:
        super().__init__()
        self.register_buffer("observations", torch.zeros(number, steps, dims[0], device=device))
        self.register_buffer("actions", torch.zeros(number, steps, dims[1], device=device))
        places = torch.zeros(number, steps, dtype=torch.int64, device=device)
        self.register_buffer("timesteps", places)
        self.register_buffer("mask", torch.zeros_like(places, dtype=torch.bool))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64, device=device))

    def add(
        self,
        observations: Float[Tensor, "segment time obs"],
        actions: Float[Tensor, "segment time act"],
        timesteps: Int[Tensor, "segment time"],
        mask: Bool[Tensor, "segment time"],
    ) -> None:
        """Put windows in the place of the oldest ones; shorter ones are filled up at the end."""
        number = len(self.mask)
        rows = (self.count + torch.arange(len(mask), device=mask.device))[-number:] % number
        time = slice(mask.shape[1])
        self.mask.index_fill_(0, rows, False)  # `[rows] = False` would copy from the host
        self.observations[rows, time] = observations[-number:]
        self.actions[rows, time] = actions[-number:]
        self.timesteps[rows, time] = timesteps[-number:]
        self.mask[rows, time] = mask[-number:]
        self.count += len(mask)

    @torch.no_grad()
    def codes(self, encoder: HindsightEncoder) -> Float[Tensor, "window context"]:
        """Return the codes of those that are held; the encoder should be in evaluation mode."""
        held = min(int(self.count), len(self.mask))
        fields = (self.observations, self.actions, self.timesteps, self.mask)
        parts = zip(*(field[:held].split(ENCODED_AT_ONCE) for field in fields), strict=True)
        codes: list[Tensor] = [encoder(*part) for part in parts]
        return torch.cat(codes)
