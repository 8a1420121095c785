"""What segments of a task are compared by."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.replay import ReplayBuffer
from pbrl.running_moments import RunningMoments
from pbrl.segments import SegmentIndex, Segments

Anchor = Literal["none", "progress", "time", "path-length"]
STATISTICS_AT_ONCE = 65_536  # observations


class TaskSegments(NamedTuple):
    """Segments of one task, ready to be compared.

    Attributes:
        segments: with observations standardised over the whole dataset.
        first_observations: likewise, of the states that their episodes began with.
        starts: first step of each in its episode.
    """

    segments: Segments
    first_observations: Float[Tensor, "segment obs"]
    starts: Int[Tensor, " segment"]


def read_segments(replay: ReplayBuffer, index: SegmentIndex, task: str) -> TaskSegments:
    """Return segments of equal length, on the CPU.

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

    def standardized(wanted: SegmentIndex) -> Tensor:
        return moments.standardize(replay.gather(wanted).observations.cpu().to(torch.float32))

    segments = replay.gather(index)
    begin = SegmentIndex(index.episode, torch.zeros_like(index.start), torch.ones_like(lengths))
    return TaskSegments(
        Segments(
            standardized(index),
            segments.actions.cpu(),
            segments.mask.cpu(),
            segments.true_rewards.cpu(),
        ),
        standardized(begin)[:, 0],
        index.start.cpu(),
    )


def flat_features(segments: Segments) -> Float[Tensor, "segment feature"]:
    """Return the observations and actions of each segment, one after the other."""
    return torch.cat([segments.observations, segments.actions], -1).flatten(1)


def anchor_cost(
    source: TaskSegments, target: TaskSegments, anchor: Anchor
) -> Float[Tensor, "source target"] | None:
    """Return how far segments of two tasks differ in something that goes the same way in both.

    The cost is the squared difference of their ranks, scaled to [0, 1], in how far the states are
    from the one that the episode began with ("progress"), how late in the episode they are ("time")
    or how long a way they go ("path-length"); None for "none".
    """
    if anchor == "none":
        return None
    one, two = (_ranks(_oriented(task, anchor)) for task in (source, target))
    return (one[:, None] - two).square()


def tells_apart(cost: Float[Tensor, "source target"]) -> bool:
    """Return whether an anchor has something to say: neither task is all alike in it."""
    return bool((cost != cost[:1]).any() & (cost != cost[:, :1]).any())


def _oriented(task: TaskSegments, anchor: Anchor) -> Float[Tensor, " segment"]:
    observations = task.segments.observations
    values: Tensor = (observations - task.first_observations[:, None]).norm(dim=-1).mean(-1)
    if anchor == "time":
        values = task.starts.to(torch.float32)
    elif anchor == "path-length":
        values = observations.diff(dim=1).norm(dim=-1).sum(-1)
    return values


def _ranks(values: Tensor) -> Float[Tensor, " segment"]:
    """Return the share of the others that each value is above, half of the equal ones counted."""
    above = (values[:, None] > values).double() + 0.5 * (values[:, None] == values).double()
    return (above.sum(1) - 0.5) / max(1, len(values) - 1)
