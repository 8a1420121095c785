"""Pseudo-random numbers that are a function of what they are drawn for."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64
_MANTISSA_BITS = 53


def stable_uniform(keys: Sequence[Int[Tensor, "*#shape"]]) -> Float[Tensor, "*shape"]:
    """Return a number in [0, 1) for each tuple of integer keys, always the same one.

    Whatever is decided by it stays decided when rows are added, removed or reordered, and needs no
    place in a checkpoint. The keys are hashed one after the other by the finaliser of SplitMix64
    (Steele et al. 2014).
    """
    state = torch.zeros_like(keys[0])
    for key in keys:
        state = _mix((state ^ key) + _GOLDEN)
    mantissa = state & ((1 << _MANTISSA_BITS) - 1)
    return mantissa.to(torch.float64) / (1 << _MANTISSA_BITS)


def _mix(state: Tensor) -> Tensor:
    state = (state ^ _shift(state, 30)) * _FIRST
    state = (state ^ _shift(state, 27)) * _SECOND
    return state ^ _shift(state, 31)


def _shift(state: Tensor, bits: int) -> Tensor:
    """Shift right, filling with zeros; torch's own shift copies the sign."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
