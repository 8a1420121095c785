"""Dropout with a generator of its own, so that a run can be repeated and resumed exactly."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pbrl.randomness import RandomSource, SeedGenerators

LEVELS = 2**16  # an element takes 16 random bits
PER_WORD = 4  # elements to a random word


class Dropout(nn.Module):
    """Zeroes elements at random in training mode and scales up the others; nothing in evaluation.

    Unlike torch's own it draws from a generator that is passed in, and one random word serves four
    elements, which on a CPU takes about a fifth of the time. The rate is met to within 1 / 131,072.

    Args:
        rate: probability of a zero, in [0, 1).
        generator: source of randomness, on the device of the inputs; torch's global one when None.

    Raises:
        ValueError: if the rate is out of its range.
    """

    def __init__(self, rate: float, generator: RandomSource | None = None) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"the rate of dropout must lie in [0, 1), got {rate}")
        self.rate = rate
        self.generator = generator

    def forward(self, inputs: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the inputs, thinned out in training mode."""
        if not self.training or self.rate == 0:
            return inputs
        kept = inputs * keep_mask(inputs, self.rate, self.generator)
        return kept.mul_(1 / (1 - self.rate))

    def extra_repr(self) -> str:
        """Return the rate, for the printed form of a network."""
        return f"rate={self.rate}"


def keep_mask(
    like: Float[Tensor, "*shape"], rate: float, generator: RandomSource | None
) -> Float[Tensor, "*shape"]:
    """Return 1 with probability 1 - rate and otherwise 0, for each element of `like` on its own.

    The type is that of `like`: on a CPU numbers multiply in a fraction of the time of booleans.
    """
    if isinstance(generator, SeedGenerators):
        masks = zip(like.unbind(), generator, strict=True)
        return torch.stack([keep_mask(part, rate, own) for part, own in masks])
    words = torch.empty(-(-like.numel() // PER_WORD), dtype=torch.int64, device=like.device)
    words.random_(-(2**63), None, generator=generator)
    bits = words.view(torch.int16)[: like.numel()].view(like.shape)
    return bits.to(like.dtype).lt_(round((1 - rate) * LEVELS) - LEVELS // 2)
