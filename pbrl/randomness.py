"""Independent generators from one seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.checks import check_seed


class Generators:
    """One torch generator per purpose, all derived from one seed.

    Purposes do not share a stream, so drawing more for one leaves the others as they were.

    Args:
        seed: any non-negative integer.
        names: the purposes.
        device: where the tensors to be drawn live.

    Raises:
        ValueError: if the seed is negative.
    """

    def __init__(self, seed: int, names: Sequence[str], device: torch.device | str = "cpu") -> None:
        check_seed(seed)
        children = np.random.SeedSequence(seed).spawn(len(names))
        self._generators = {
            name: torch.Generator(device).manual_seed(_integer(child))
            for name, child in zip(names, children, strict=True)
        }

    def __getitem__(self, name: str) -> torch.Generator:
        return self._generators[name]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every generator."""
        return {name: generator.get_state() for name, generator in self._generators.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, generator in self._generators.items():
            generator.set_state(state[name].cpu().to(torch.uint8))


class SeedGenerators(tuple[torch.Generator, ...]):
    """One generator for each of several seeds that are trained at once; in place of a single one.

    What is drawn has a leading axis, along which each seed draws what it would draw alone.
    """

    __slots__ = ()

    @property
    def device(self) -> torch.device:
        """Where they draw."""
        return self[0].device


RandomSource = torch.Generator | SeedGenerators
"""Of one seed, or of several."""


def standard_normal(
    like: Float[Tensor, "*shape"], source: RandomSource | None
) -> Float[Tensor, "*shape"]:
    """Return normal noise in the shape of `like`; of several seeds, each its own."""
    if isinstance(source, SeedGenerators):
        parts = zip(like.unbind(), source, strict=True)
        return torch.stack([standard_normal(part, own) for part, own in parts])
    return torch.empty_like(like).normal_(generator=source)


def uniform_doubles(
    shape: Sequence[int], source: RandomSource, device: torch.device
) -> Float[Tensor, "*shape"]:
    """Return float64 numbers uniform in [0, 1); of several seeds along the first axis."""
    if isinstance(source, SeedGenerators):
        return torch.stack([uniform_doubles(shape[1:], own, device) for own in source])
    return torch.rand(tuple(shape), generator=source, dtype=torch.float64, device=device)


def derived_seed(seed: int, *keys: int) -> int:
    """Return a seed for a purpose named by integers, independent of those of other purposes.

    A single integer names the generator of `Generators` in that place, with the same stream: give
    two to what must not draw what a generator of the run draws.
    """
    check_seed(seed)
    return _integer(np.random.SeedSequence(seed, spawn_key=keys))


def _integer(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint32)[0])
