"""What segments of a task are compared by."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.replay import ReplayBuffer
from pbrl.running_moments import RunningMoments
from pbrl.segments import SegmentIndex, Segments

Anchor = Literal["none", "displacement", "path-length"]
STATISTICS_AT_ONCE = 65_536  # observations


def read_segments(replay: ReplayBuffer, index: SegmentIndex, task: str) -> Segments:
    """Return segments of equal length with observations standardised over the whole dataset.

    Raises:
        ValueError: if the segments of the task differ in length.
    """
    lengths = index.length
    if len(lengths) and bool((lengths != lengths[0]).any()):
        raise ValueError(
            f"segments of the {task} have {int(lengths.min())} to {int(lengths.max())} steps; an "
            "alignment needs equal lengths within a task"
        )
    moments = RunningMoments(replay.all_observations().shape[1])
    for part in replay.all_observations().split(STATISTICS_AT_ONCE):
        moments.update(part.cpu())
    segments = replay.gather(index)
    return Segments(
        moments.standardize(segments.observations.cpu().to(torch.float32)),
        segments.actions.cpu(),
        segments.mask.cpu(),
        segments.true_rewards.cpu(),
    )


def flat_features(segments: Segments) -> Float[Tensor, "segment feature"]:
    """Return the observations and actions of each segment, one after the other."""
    return torch.cat([segments.observations, segments.actions], -1).flatten(1)


def anchor_cost(
    source: Segments, target: Segments, anchor: Anchor
) -> Float[Tensor, "source target"] | None:
    """Return how far segments of two tasks differ in something that goes one way in both.

    The cost is the squared difference of the ranks, scaled to [0, 1], by the distance between the
    first and last state ("displacement") or the way between them ("path-length"). It takes the side
    of those who move far in both tasks; None for "none".
    """
    if anchor == "none":
        return None
    one, two = (_ranks(_extent(segments, anchor)) for segments in (source, target))
    return (one[:, None] - two).square()


def _extent(segments: Segments, anchor: Anchor) -> Float[Tensor, " segment"]:
    observations = segments.observations
    steps = observations.diff(dim=1)
    extent: Tensor = steps.norm(dim=-1).sum(-1)
    if anchor == "displacement":
        extent = steps.sum(1).norm(dim=-1)
    return extent


def _ranks(values: Tensor) -> Float[Tensor, " segment"]:
    """Return the share of the others that each value is above, half of the equal ones counted."""
    above = (values[:, None] > values).double() + 0.5 * (values[:, None] == values).double()
    return (above.sum(1) - 0.5) / max(1, len(values) - 1)
