"""What the offline loop draws before each update."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.windows import WindowSampler
from pbrl.pairs import ListBatch, OfflineBatch, OfflineBatchSizes, PairBatch, PreferenceData
from pbrl.randomness import Generators
from pbrl.replay import Batch
from pbrl.segments import SegmentIndex, Segments
from pbrl.windows import WindowBatch, WindowSizes

View = Callable[[Tensor], Tensor]
"""What is done to observations before an agent sees them."""


@runtime_checkable
class GradedSegments(Protocol):
    """Preferences from which graded lists are drawn."""

    def draw_lists(
        self, number: int, items: int, generator: torch.Generator
    ) -> tuple[SegmentIndex, Float[Tensor, "list item"]]:
        """Draw lists of different segments, `[list, item]`, and their grades."""
        ...


class OfflineSampler:
    """Draws batches from a dataset and the preferences between its segments.

    Args:
        dataset: the episodes.
        preferences: the labels; None where there are none.
        generators: with the purposes "transitions", "pairs" and "windows"; the last cuts segments.
        episodes: transitions are drawn from these alone; None takes all.
        view: what is done to observations.
    """

    def __init__(
        self,
        dataset: OfflineDataset,
        preferences: PreferenceData | None,
        generators: Generators,
        *,
        episodes: Int[Tensor, " episode"] | None = None,
        view: View | None = None,
    ) -> None:
        self.dataset = dataset
        self.preferences = preferences
        self._generators = generators
        self._episodes = episodes
        self._view = view
        self._window_samplers: dict[WindowSizes, WindowSampler] = {}
        self._lengths: dict[int | None, int | None] = {}

    def check(self, sizes: OfflineBatchSizes) -> None:
        """Refuse to draw what there is not.

        Raises:
            ValueError: if labels are asked for and missing, of another kind, shorter, or further
                than the learner knows places, or windows that no episode has.
        """
        if sizes.windows is not None:
            self._sampler_of(sizes.windows)
        if sizes.pairs + sizes.lists == 0:
            return
        if self.preferences is None:
            raise ValueError("this agent learns from labels: give a file of labels for the dataset")
        if sizes.lists > 0 and not isinstance(self.preferences, GradedSegments):
            raise ValueError("this agent learns from graded lists, and the labels are pairs")
        longest = int(self.preferences.segments.length.max())
        if longest < sizes.least_steps:
            raise ValueError(
                "this agent learns from the transitions inside of labelled segments, which need at "
                f"least {sizes.least_steps} steps, and the longest has {longest}: label longer "
                "ones, or learn a reward from them, such as with --agent p-iql"
            )
        if sizes.segment_steps is not None and sizes.segment_steps > longest:
            raise ValueError(
                f"segment_steps asks for windows of {sizes.segment_steps} steps, and the longest "
                f"labelled segment has {longest}"
            )
        _check_reach(self.preferences.segments, sizes)

    def draw(self, sizes: OfflineBatchSizes) -> OfflineBatch:
        """Draw what one update learns from.

        Raises:
            ValueError: see `check`.
        """
        return OfflineBatch(
            pairs=self._pairs(sizes) if sizes.pairs else None,
            transitions=self._transitions(sizes) if sizes.transitions else None,
            lists=self._lists(sizes) if sizes.lists else None,
            windows=self._windows(sizes.windows) if sizes.windows else None,
        )

    def _pairs(self, sizes: OfflineBatchSizes) -> PairBatch:
        if self.preferences is None:
            self.check(sizes)
        assert self.preferences is not None  # checked
        drawn = self.preferences.draw(sizes.pairs, self._generators["pairs"])
        index, segments = self._segments(drawn.index, sizes.segment_steps)
        device = self.dataset.replay.device
        return PairBatch(
            segments, drawn.labels.to(device), drawn.weights.to(device), index.start.to(device)
        )

    def _lists(self, sizes: OfflineBatchSizes) -> ListBatch:
        if not isinstance(self.preferences, GradedSegments):
            self.check(sizes)
        assert isinstance(self.preferences, GradedSegments)  # checked
        index, grades = self.preferences.draw_lists(
            sizes.lists, sizes.items, self._generators["pairs"]
        )
        _, segments = self._segments(index, sizes.segment_steps)
        return ListBatch(segments, grades.to(self.dataset.replay.device))

    def _segments(self, index: SegmentIndex, steps: int | None) -> tuple[SegmentIndex, Segments]:
        """Return where the segments lie that were cut from the given ones, and what they hold."""
        index = cut(index, steps, self._generators["windows"])
        replay, length = self.dataset.replay, self._length(steps)
        segments = replay.gather(index) if length is None else replay.read(index, length)
        return index, seen(segments, self._view)

    def _length(self, steps: int | None) -> int | None:
        """Return how many steps all segments have once they are cut; None if they differ.

        It is found once, and then a batch of equal segments waits for no device.
        """
        if steps not in self._lengths:
            assert self.preferences is not None  # who asks has drawn from them
            index = self.preferences.segments
            lengths = index.length if steps is None else index.length.clamp(max=steps)
            shortest, longest = int(lengths.min()), int(lengths.max())
            is_known = shortest == longest and self.dataset.replay.holds(index)
            self._lengths[steps] = longest if is_known else None
        return self._lengths[steps]

    def _windows(self, sizes: WindowSizes) -> WindowBatch:
        windows = self._sampler_of(sizes).draw(self._generators["transitions"])
        if self._view is None:
            return windows
        observations = self._view(windows.observations) * windows.mask[..., None]
        return replace(windows, observations=observations)

    def _sampler_of(self, sizes: WindowSizes) -> WindowSampler:
        if sizes not in self._window_samplers:
            self._window_samplers[sizes] = WindowSampler(self.dataset.replay, sizes)
        return self._window_samplers[sizes]

    def _transitions(self, sizes: OfflineBatchSizes) -> Batch:
        batch = self.dataset.replay.sample(
            sizes.transitions,
            self._generators["transitions"],
            self._episodes,
            last_steps=self.dataset.has_last_observations,
            steps=sizes.steps,
        )
        return batch if self._view is None else batch.seen_through(self._view)


def _check_reach(segments: SegmentIndex, sizes: OfflineBatchSizes) -> None:
    """Refuse segments with steps for which the learner has no place."""
    if sizes.num_timesteps is None:
        return
    if sizes.places_of == "episode":
        furthest = int((segments.start + segments.length).max())
        found = f"reach to step {furthest} of their episodes"
    else:
        longest = int(segments.length.max())
        furthest = min(longest, sizes.segment_steps or longest)
        found = f"have up to {furthest} steps"
    if furthest > sizes.num_timesteps:
        raise ValueError(
            f"labelled segments {found}, and num_timesteps is {sizes.num_timesteps}: raise it to "
            f"{furthest}"
        )


def seen(segments: Segments, view: View | None) -> Segments:
    """Return segments as an agent sees them; padding stays zero."""
    if view is None:
        return segments
    observations = view(segments.observations) * segments.mask[..., None]
    return replace(segments, observations=observations)


def cut(index: SegmentIndex, steps: int | None, generator: torch.Generator) -> SegmentIndex:
    """Return a window of each segment, at one random place for all of them.

    In segments of equal length it is the same place; in others the same share of the way. The first
    and the last window are as likely as any other. Segments that are not longer stay whole.

    Args:
        index: segments of any shape.
        steps: length of a window; None leaves the segments whole.
        generator: source of randomness.
    """
    if steps is None:
        return index
    share = torch.rand((), generator=generator, dtype=torch.float64, device=generator.device)
    num_places = (index.length - steps + 1).clamp(min=1)
    place = (share.to(num_places.device) * num_places).to(torch.int64)
    return SegmentIndex(index.episode, index.start + place, index.length.clamp(max=steps))


def best_episodes(dataset: OfflineDataset, share: float) -> Int[Tensor, " episode"]:
    """Return the share of episodes with the highest true returns, at least one: %BC.

    Of equal returns the earlier ones come first.

    Raises:
        ValueError: if the dataset has no rewards to tell them apart by.
    """
    replay = dataset.replay
    true = replay.all_true_rewards()
    if not bool(true.any()):
        raise ValueError(
            f"the dataset {dataset.info.name} holds no reward to tell its best episodes by"
        )
    episode = replay.all_episodes().long()
    returns = torch.zeros(int(episode.max()) + 1, dtype=torch.float64, device=replay.device)
    returns.index_add_(0, episode, true.double())
    number = max(1, round(share * len(returns)))
    return returns.argsort(descending=True, stable=True)[:number].sort().values
