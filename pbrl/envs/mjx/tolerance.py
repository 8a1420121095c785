"""The graded rewards of the DeepMind Control Suite (Tassa et al. 2018, section 3), on tensors."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Falloff = Callable[[Float[Tensor, "*batch"], float], Float[Tensor, "*batch"]]
"""Maps a distance, in margins, and the value at distance 1 to a value in [0, 1]."""


def gaussian(distance: Float[Tensor, "*batch"], value_at_1: float) -> Float[Tensor, "*batch"]:
    """Return exp(-(scale * distance)^2 / 2)."""
    return torch.exp(math.log(value_at_1) * distance.square())


def linear(distance: Float[Tensor, "*batch"], value_at_1: float) -> Float[Tensor, "*batch"]:
    """Return a straight line from 1 down to 0."""
    return (1.0 - (1.0 - value_at_1) * distance).clamp(0.0)


def quadratic(distance: Float[Tensor, "*batch"], value_at_1: float) -> Float[Tensor, "*batch"]:
    """Return a parabola from 1 down to 0."""
    return (1.0 - (1.0 - value_at_1) * distance.square()).clamp(0.0)


def tolerance(
    values: Float[Tensor, "*batch"],
    bounds: tuple[float, float] = (0.0, 0.0),
    *,
    margin: float = 0.0,
    falloff: Falloff = gaussian,
    value_at_margin: float = 0.1,
) -> Float[Tensor, "*batch"]:
    """Return 1 within the bounds, and less the further outside.

    Args:
        values: what is judged.
        bounds: least and greatest value that earns 1; may be infinite.
        margin: distance from the bounds at which the result is `value_at_margin`; 0 gives 0
            everywhere outside.
        falloff: its shape.
        value_at_margin: in [0, 1), for `gaussian` above 0.
    """
    lower, upper = bounds
    distance = torch.maximum(lower - values, values - upper).clamp(0.0)
    if margin == 0.0:
        return (distance == 0.0).to(values.dtype)
    return falloff(distance / margin, value_at_margin)
