"""A rate at several sizes, and its slope on logarithmic axes.

The slope is that of the logarithm of the rate over the logarithm of the size, by least squares over
the last three points, where fixed costs weigh least: 0 costs nothing more, -1 takes time in
proportion. Rates are by processor time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speed.measure import repeated, time_in_turns

POINTS_OF_SLOPE = 3

Step = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A rate against a size.

    Attributes:
        axis: what there is more of.
        name: what is done.
        unit: of the rate.
        sizes: where it is measured, increasing.
        make: returns for a size what is timed, and how many units that is.
    """

    axis: str
    name: str
    unit: str
    sizes: tuple[int, ...]
    make: Callable[[int], tuple[Step, float]]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A measured curve; see `Curve` and the module for the slope."""

    axis: str
    name: str
    unit: str
    sizes: list[int]
    rates: list[float]
    slope: float


def measure_curve(curve: Curve, rounds: int) -> Measured:
    """Time a curve at each of its sizes."""
    rates = []
    for size in curve.sizes:
        step, amount = curve.make(size)
        (times,) = time_in_turns({curve.name: repeated(step)}, rounds).values()
        rates.append(amount / times.cpu)
    return Measured(
        axis=curve.axis,
        name=curve.name,
        unit=curve.unit,
        sizes=list(curve.sizes),
        rates=rates,
        slope=slope(curve.sizes, rates),
    )


def slope(sizes: Sequence[int], rates: Sequence[float]) -> float:
    """Return the slope of the last points of a curve on logarithmic axes."""
    last = slice(-POINTS_OF_SLOPE, None)
    return float(np.polyfit(np.log(sizes[last]), np.log(rates[last]), 1)[0])
