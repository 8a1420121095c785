"""Two tasks in which episodes come some way along a line, to align with each other."""

import math
from typing import Literal

import torch
from torch import Tensor

from pbrl.pairs import ScoredSegments
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

Spread = Literal["skewed", "uniform"]
EPISODES, STEPS = 400, 25
SCALE, NOISE = 1.7, 0.02


def make_task(
    spread: Spread, generator: torch.Generator, *, is_turned: bool
) -> tuple[ReplayBuffer, ScoredSegments]:
    """Return episodes, and each as a segment with how far it comes for its score.

    Args:
        spread: of how far, in [0, 1]: Beta(1, 3) or uniform.
        generator: of everything that is drawn.
        is_turned: whether the line has another direction and another unit.
    """
    draw = torch.rand(EPISODES, generator=generator)
    way = 1 - (1 - draw) ** (1 / 3) if spread == "skewed" else draw
    angle, scale = (1.1, SCALE) if is_turned else (0.0, 1.0)
    along = scale * way[:, None] * torch.linspace(0, 1, STEPS + 1)
    places = torch.stack([math.cos(angle) * along, math.sin(angle) * along], -1)
    places = places + NOISE * torch.randn(places.shape, generator=generator)
    replay = ReplayBuffer.from_episodes(
        observations=places[:, :-1].flatten(0, 1),
        actions=torch.zeros(EPISODES * STEPS, 1),
        true_rewards=_rewards(way),
        last_observations=places[:, -1],
        lengths=torch.full((EPISODES,), STEPS),
        terminated=torch.zeros(EPISODES, dtype=torch.bool),
    )
    whole = torch.full((EPISODES,), STEPS)
    index = SegmentIndex(torch.arange(EPISODES), torch.zeros_like(whole), whole)
    return replay, ScoredSegments(index, way)


def _rewards(way: Tensor) -> Tensor:
    """Return the same reward for every step, which sums to the way."""
    return (way / STEPS).repeat_interleave(STEPS)
