"""Margins of candidate queries under a reward model, in bounded memory."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.rewards import RewardEnsemble
from pbrl.segments import SegmentIndex, Segments


@runtime_checkable
class SegmentSource(Protocol):
    """What a sampler needs of a replay buffer."""

    def completed_episodes(self, last: int | None = None) -> Int[Tensor, " episode"]:
        """Return the ids of complete episodes, oldest first."""
        ...

    def sample_segments(
        self,
        number: int,
        length: int,
        generator: torch.Generator,
        episodes: Int[Tensor, " episode"] | None = None,
    ) -> SegmentIndex:
        """Draw segments uniformly over all windows of complete episodes."""
        ...

    def gather(self, index: SegmentIndex) -> Segments:
        """Read segments."""
        ...


@runtime_checkable
class SegmentModel(Protocol):
    """An ensemble that gives segments a score."""

    def segment_returns(self, segments: Segments) -> Float[Tensor, "member ..."]:
        """Return the score of every segment under every member."""
        ...


def query_margins(
    replay: SegmentSource, model: SegmentModel, queries: SegmentIndex, chunk_size: int
) -> Float[Tensor, "member query"]:
    """Return the score of segment 1 minus that of segment 0, for every member of the ensemble.

    Candidates overlap much: ten thousand pairs of 50 steps drawn from 100 episodes of 1,000 steps
    visit every step ten times. A `RewardEnsemble` scores a segment by the sum of its steps, so
    each step is evaluated once, where that is fewer, and the sums are differences of running sums.

    Args:
        replay: where the segments lie.
        model: the ensemble.
        queries: the candidates, `[query, 2]`.
        chunk_size: steps gathered and evaluated at once.
    """
    flat = queries.reshape(-1)
    spans = _Spans(flat)
    with torch.no_grad():
        if isinstance(model, RewardEnsemble) and spans.num_steps < int(flat.length.sum()):
            returns = _sums_of_steps(replay, model, flat, spans, chunk_size)
        else:
            chunk = max(1, chunk_size // int(flat.length.max()))
            returns = torch.cat(
                [
                    model.segment_returns(replay.gather(flat[start : start + chunk]))
                    for start in range(0, len(flat), chunk)
                ],
                dim=1,
            )
    return returns[:, 1::2] - returns[:, 0::2]


class _Spans:
    """For every episode touched by some segments, the stretch from the first step to the last."""

    def __init__(self, index: SegmentIndex) -> None:
        self.episode, self.span = torch.unique(index.episode, return_inverse=True)
        zeros = torch.zeros_like(self.episode)
        end = index.start + index.length
        self.start = zeros.scatter_reduce(0, self.span, index.start, "amin", include_self=False)
        self.length = zeros.scatter_reduce(0, self.span, end, "amax") - self.start
        self.offset = self.length.cumsum(0) - self.length
        self.num_steps = int(self.length.sum())

    def blocks(self, size: int) -> SegmentIndex:
        """Cut the spans, in their order, into segments of at most `size` steps."""
        num_blocks = (self.length + size - 1) // size
        span = torch.repeat_interleave(num_blocks)
        first = (num_blocks.cumsum(0) - num_blocks)[span]
        skipped = (torch.arange(len(span), device=span.device) - first) * size
        length = (self.length[span] - skipped).clamp_max(size)
        return SegmentIndex(self.episode[span], self.start[span] + skipped, length)

    def position(self, index: SegmentIndex) -> Int[Tensor, " segment"]:
        """Return where each segment starts when the spans are laid end to end."""
        return self.offset[self.span] + index.start - self.start[self.span]


_BLOCK = 256  # steps


def _sums_of_steps(
    replay: SegmentSource,
    model: RewardEnsemble,
    index: SegmentIndex,
    spans: _Spans,
    chunk_size: int,
) -> Float[Tensor, "member segment"]:
    blocks = spans.blocks(min(_BLOCK, chunk_size))
    chunk = max(1, chunk_size // _BLOCK)
    rewards = []
    for start in range(0, len(blocks), chunk):
        steps = replay.gather(blocks[start : start + chunk])
        rewards.append(model(steps.observations[steps.mask], steps.actions[steps.mask]))
    running = torch.cat(rewards, dim=1).double().cumsum(1)  # [member, step]
    running = torch.nn.functional.pad(running, (1, 0))
    begin = spans.position(index)
    return (running[:, begin + index.length] - running[:, begin]).float()
