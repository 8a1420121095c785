"""Random sub-segments of labelled pairs: augmentation without another network pass."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.randomness import RandomSource, uniform_doubles


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How labelled pairs are cropped; the defaults are QPA's (Hu et al. 2024).

    The two crops of a pair have one common length and independent starts, and inherit the label.
    With windows of 50 steps the lengths are 35 to 45, as in QPA; with windows of 60 and one crop
    they are 45 to 55, as in SURF (Park et al. 2022).

    Attributes:
        num_crops: crops of each pair per gradient step (tau in QPA), at least 1.
        min_cut, max_cut: a crop is shorter than the shorter segment of its pair by a number of
            steps drawn uniformly from this range, both ends included; at least one step is left.
    """

    num_crops: int = 20
    min_cut: int = 5
    max_cut: int = 15

    def __post_init__(self) -> None:
        if self.num_crops < 1:
            raise ValueError(f"num_crops must be at least 1, got {self.num_crops}")
        if not 0 <= self.min_cut <= self.max_cut:
            raise ValueError(
                "min_cut and max_cut must satisfy 0 <= min_cut <= max_cut, got "
                f"{self.min_cut} and {self.max_cut}"
            )


@dataclass(frozen=True)
class Crops:
    """Stretches of the two segments of each query, of equal length within a crop.

    Attributes:
        start: first step, counted from the start of the segment.
        end: step after the last one.
    """

    start: Int[Tensor, "*shape two crop"]
    end: Int[Tensor, "*shape two crop"]


def whole_segments(lengths: Int[Tensor, "*shape two"]) -> Crops:
    """Return the one crop of each query that leaves everything in."""
    end = lengths[..., None]
    return Crops(torch.zeros_like(end), end)


def draw_crops(
    config: CropConfig, lengths: Int[Tensor, "*shape two"], generator: RandomSource
) -> Crops:
    """Draw crops of segments with the given numbers of steps, independently for each query."""
    shape = (*lengths.shape[:-1], 1, config.num_crops)
    shorter = lengths.amin(-1)[..., None, None]
    shortest = (shorter - config.max_cut).clamp(min=1)
    longest = (shorter - config.min_cut).clamp(min=1)
    size = shortest + _integers(longest - shortest + 1, shape, generator)  # [*shape, 1, crop]
    room = lengths[..., None] - size + 1  # [*shape, two, crop]
    start = _integers(room, room.shape, generator)
    return Crops(start, start + size)


def _integers(bound: Tensor, shape: tuple[int, ...], generator: RandomSource) -> Tensor:
    """Draw integers uniformly from {0, ..., bound - 1}."""
    uniform = uniform_doubles(shape, generator, bound.device)
    return (uniform * bound).to(torch.int64)


def crop_sums(
    values: Float[Tensor, "*shape two time"], crops: Crops
) -> Float[Tensor, "*shape two crop"]:
    """Return the sum of per-step values over each crop, as differences of running sums."""
    running = F.pad(values.cumsum(-1), (1, 0))  # [*shape, two, time + 1]
    return running.gather(-1, crops.end) - running.gather(-1, crops.start)


def crop_scores(
    values: Float[Tensor, "*shape two time"], crops: Crops, score: Literal["sum", "mean"]
) -> Float[Tensor, "*shape two crop"]:
    """Return the sum of per-step values over each crop, or their mean."""
    sums = crop_sums(values, crops)
    return sums if score == "sum" else sums / (crops.end - crops.start)
