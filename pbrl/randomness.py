"""Independent generators from one seed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


class Generators:
    """One torch generator per purpose, all derived from one seed.

    Purposes do not share a stream, so drawing more for one leaves the others as they were.

    Args:
        seed: any non-negative integer.
        names: the purposes.
        device: where the tensors to be drawn live.
    """

    def __init__(self, seed: int, names: Sequence[str], device: torch.device | str = "cpu") -> None:
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


def derived_seed(seed: int, *keys: int) -> int:
    """Return a seed for a purpose named by integers, independent of those of other purposes."""
    return _integer(np.random.SeedSequence(seed, spawn_key=keys))


def _integer(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint32)[0])
