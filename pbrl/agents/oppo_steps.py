"""The steps that OPPO's encoder and policy read, from windows and from labelled pairs alike."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.pairs import PairBatch
from pbrl.segments import Segments
from pbrl.windows import WindowBatch


class Steps(NamedTuple):
    """Consecutive steps of an episode, padded; the parameters of the encoder in their order.

    Attributes:
        observations: what the agent saw.
        actions: what it did.
        timesteps: place of each step in its episode.
        mask: false on padding.
    """

    observations: Float[Tensor, "segment time obs"]
    actions: Float[Tensor, "segment time act"]
    timesteps: Int[Tensor, "segment time"]
    mask: Bool[Tensor, "segment time"]


def steps_of_windows(windows: WindowBatch) -> Steps:
    """Return the steps of windows."""
    return Steps(windows.observations, windows.actions, windows.timesteps, windows.mask)


def steps_of_pairs(pairs: PairBatch) -> Steps:
    """Return the steps of the segments of pairs, two of each pair one after the other."""
    starts = None if pairs.starts is None else pairs.starts.flatten()
    return steps_of_segments(pairs.segments, starts)


def steps_of_segments(segments: Segments, starts: Int[Tensor, " segment"] | None = None) -> Steps:
    """Return the steps of segments of any shape, flat.

    Args:
        segments: padded at the end.
        starts: first step of each in its episode; None counts from 0.
    """
    flat = segments.reshape(-1)
    time = torch.arange(flat.mask.shape[1], device=flat.mask.device).expand_as(flat.mask)
    places = time if starts is None else time + starts[:, None]
    return Steps(flat.observations, flat.actions, places * flat.mask, flat.mask)
