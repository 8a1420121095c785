"""Labelled pairs made ready for gradient steps."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.feedback import LabelledQueries
from pbrl.replay import ReplayBuffer
from pbrl.rewards import RewardEnsemble
from pbrl.segments import SegmentIndex
from pbrl.stable_draws import stable_uniform

BYTES_PER_NUMBER = 4
HELD_OUT = -1  # takes the place of a member's number where held-out pairs are drawn


class Windows:
    """The distinct segments of some feedback, as inputs of a reward ensemble.

    They are gathered once, and stay, when they fit into the given memory; otherwise whatever is
    asked for is gathered each time.

    Args:
        index: distinct segments, `[window]`.
        replay: where they lie.
        ensemble: whose inputs they become.
        memory_limit: bytes that may be kept.

    Attributes:
        index: where they lie, `[window]`.
        lengths: steps of each window, `[window]`.
        horizon: the longest of them.
    """

    def __init__(
        self,
        index: SegmentIndex,
        replay: ReplayBuffer,
        ensemble: RewardEnsemble,
        memory_limit: float,
    ) -> None:
        self.lengths = index.length
        self.horizon = int(index.length.max())
        self.index = index
        self._replay = replay
        self._ensemble = ensemble
        width = ensemble.network.num_inputs
        size = len(index) * self.horizon * width * BYTES_PER_NUMBER
        self._inputs = self._gather(index) if size <= memory_limit else None

    def __len__(self) -> int:
        return len(self.index)

    def _gather(self, index: SegmentIndex) -> Tensor:
        segments = self._replay.gather(index)
        return self._ensemble.inputs(segments.observations, segments.actions)

    @property
    def are_kept(self) -> bool:
        """Whether all inputs are in memory."""
        return self._inputs is not None

    @staticmethod
    def joined(parts: Sequence["Windows"]) -> "Windows":
        """Return windows of several seeds, each as its own ensemble sees them, one after another.

        Raises:
            ValueError: if those of some seed are not kept in memory.
        """
        inputs = [part._inputs for part in parts if part._inputs is not None]
        if len(inputs) < len(parts):
            raise ValueError("windows can only be joined where all are kept in memory")
        made = copy.copy(parts[0])
        made.index = SegmentIndex.cat([part.index for part in parts])
        made.lengths = made.index.length
        made.horizon = max(part.horizon for part in parts)
        padded = [F.pad(one, (0, 0, 0, made.horizon - one.shape[1])) for one in inputs]
        made._inputs = torch.cat(padded)
        return made

    def take(self, rows: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape time in"]:
        """Return the inputs of these windows, padded at the end."""
        flat = rows.flatten()
        if self._inputs is None:
            inputs = self._gather(self.index[flat])
        else:
            inputs = self._inputs.index_select(0, flat)
        return inputs.view(*rows.shape, *inputs.shape[1:])


@dataclass(frozen=True)
class Examples:
    """Labelled pairs over a common set of windows.

    What changes the labels of one update, such as a filter of noisy ones, maps examples to
    examples.

    Attributes:
        windows: the distinct segments.
        pairs: the two windows of each answer.
        labels: probability that segment 1 is preferred.
        weights: how much each answer counts for each member, and each seed where several learn at
            once; 0 leaves it out.
        importance: share of each step in its window, by a prior over rewards; None without one.
    """

    windows: Windows
    pairs: Int[Tensor, "answer two"]
    labels: Float[Tensor, " answer"]
    weights: Float[Tensor, "*seed member answer"]
    importance: Float[Tensor, "window time"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, keep: Bool[Tensor, " answer"]) -> "Examples":
        """Return the examples marked in `keep`, over the same windows."""
        return replace(
            self, pairs=self.pairs[keep], labels=self.labels[keep], weights=self.weights[..., keep]
        )


def joined_examples(parts: Sequence[Examples]) -> Examples:
    """Return the examples of several seeds, one after another; `weights` has an axis for them.

    Raises:
        ValueError: see `Windows.joined`.
    """
    windows = Windows.joined([part.windows for part in parts])
    first_rows = [0, *accumulate(len(part.windows) for part in parts)]
    pairs = [part.pairs + row for part, row in zip(parts, first_rows, strict=False)]
    weights = torch.cat([part.weights for part in parts], 1)
    return Examples(
        windows,
        torch.cat(pairs),
        torch.cat([part.labels for part in parts]),
        weights.expand(len(parts), *weights.shape),
    )


def make_examples(
    labelled: LabelledQueries, replay: ReplayBuffer, ensemble: RewardEnsemble, memory_limit: float
) -> Examples:
    """Return the labelled pairs over their distinct segments, with equal weights for all members.

    Args:
        labelled: one row per answer.
        replay: where the segments lie.
        ensemble: who will learn from them.
        memory_limit: bytes of inputs that may be kept.
    """
    index = labelled.index.to(replay.device)
    columns = torch.stack([index.episode, index.start, index.length], -1)  # [answer, two, 3]
    distinct, pairs = torch.unique(columns.view(-1, 3), dim=0, return_inverse=True)
    windows = Windows(SegmentIndex(*distinct.unbind(1)), replay, ensemble, memory_limit)
    weights = labelled.weights.to(replay.device).expand(ensemble.num_members, -1)
    return Examples(windows, pairs.view(-1, 2), labelled.labels.to(replay.device), weights)


def bootstrap_mask(
    index: SegmentIndex, num_members: int, share: float
) -> Bool[Tensor, "member answer"]:
    """Return which member learns from which query: each from a share of its own.

    The mask depends on the query and the member alone, so it stays the same from one session to the
    next, and all answers to one query go together.
    """
    member = torch.arange(num_members, device=index.episode.device)[:, None]
    return _uniform_of(index, member) < share


def held_out_mask(index: SegmentIndex, share: float) -> Bool[Tensor, " answer"]:
    """Return which queries nobody learns from, always the same ones and in every session."""
    return _uniform_of(index, torch.full_like(index.episode[:, 0], HELD_OUT)) < share


def _uniform_of(index: SegmentIndex, purpose: Tensor) -> Tensor:
    episode_0, episode_1 = index.episode.unbind(1)
    start_0, start_1 = index.start.unbind(1)
    return stable_uniform([episode_0, start_0, episode_1, start_1, purpose])
