"""Simulator positions out of observations, where an environment's observations hold them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Positions = Float[np.ndarray, " position"]
Velocities = Float[np.ndarray, " velocity"]

HIDDEN_POSITIONS = {
    "Hopper": 1,
    "Walker2d": 1,
    "HalfCheetah": 1,
    "Swimmer": 2,
    "Ant": 2,
    "InvertedPendulum": 0,
}
"""Coordinates of the root that Gymnasium's tasks leave out of their observations, which start with
the other positions and go on with all velocities."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Sizes of a model's state.

    Attributes:
        num_positions: length of qpos.
        num_velocities: length of qvel.
        num_hidden: leading positions that observations leave out.
        step_seconds: simulated time of one step.
    """

    num_positions: int
    num_velocities: int
    num_hidden: int
    step_seconds: float

    @property
    def num_needed(self) -> int:
        """Entries that an observation must have at least."""
        return self.num_positions - self.num_hidden + self.num_velocities


def num_hidden(env_id: str) -> int | None:
    """Return how many positions an environment hides, None if its observations hold no state."""
    source, _, task = env_id.partition("/")
    return HIDDEN_POSITIONS.get(task.partition("-")[0]) if source == "gym" else None


def restore(
    observations: Float[np.ndarray, "time obs"], layout: Layout
) -> Iterator[tuple[Positions, Velocities]]:
    """Yield positions and velocities before each step.

    Hidden positions start at 0 and move with their velocities, so that a segment that was cut
    somewhere along the way is shown from the start of the way. Velocities that an observation clips
    stay clipped.

    Raises:
        ValueError: if the observations are too short to hold a state.
    """
    if observations.shape[-1] < layout.num_needed:
        raise ValueError(
            f"observations of {observations.shape[-1]} numbers cannot hold the state, which has "
            f"{layout.num_needed}"
        )
    shown = layout.num_positions - layout.num_hidden
    velocities = observations[:, shown : layout.num_needed]
    moved = np.cumsum(velocities[:, : layout.num_hidden], 0) * layout.step_seconds
    hidden = np.concatenate([np.zeros_like(moved[:1]), moved[:-1]])
    positions = np.concatenate([hidden, observations[:, :shown]], -1)
    yield from zip(positions.astype(float), velocities.astype(float), strict=True)
