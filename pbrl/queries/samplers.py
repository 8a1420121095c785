"""Samplers: which pairs of segments to ask about."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, get_args, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.lookup import look_up
from pbrl.queries.kcenter import greedy_k_center, nearest_distance
from pbrl.queries.scores import NEEDS_ENSEMBLE, SCORES, ScoreName, rank
from pbrl.queries.scoring import SegmentModel, SegmentSource, query_margins
from pbrl.segments import SegmentIndex

_MAX_REDRAWS = 100


@runtime_checkable
class Sampler(Protocol):
    """Chooses queries."""

    def __call__(
        self,
        replay: SegmentSource,
        model: SegmentModel | None,
        number: int,
        generator: torch.Generator,
        labelled: SegmentIndex | None = None,
    ) -> SegmentIndex:
        """Return `number` pairs of segments, `[number, 2]`.

        Args:
            replay: where to draw from.
            model: the trained reward model, None before the first session.
            number: how many queries.
            generator: source of randomness, on the replay's device.
            labelled: the queries that carry a label, `[query, 2]`.
        """
        ...


@runtime_checkable
class PoolSampler(Sampler, Protocol):
    """A sampler that draws from a pool, which may be too small as yet."""

    def can_draw(self, replay: SegmentSource, number: int) -> bool:
        """Return whether the pool holds segments for `number` queries."""
        ...


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """A sampler: pool, then score, then k-center; defaults are B-Pref's uniform sampler.

    Attributes:
        segment_length: H, steps of a segment.
        pool: draw from this many of the most recently completed episodes; None draws from all in
            the replay. B-Pref keeps 100; near on-policy queries (QPA) are a pool of 10 to 60.
        candidate_factor: candidates drawn per query wanted (B-Pref `large_batch`); only where
            there is something to choose by.
        score: what ranks the candidates, None for nothing.
        k_center: choose by greedy k-center on the observations: among all candidates, or with a
            score among the better half of them.
        reject_overlap: draw pairs whose two segments share a step again. B-Pref and QPA do not.
        chunk_size: steps evaluated at once when scoring; bounds the memory.
    """

    segment_length: int = 50
    pool: int | None = 100
    candidate_factor: int = 10
    score: ScoreName | None = None
    k_center: bool = False
    reject_overlap: bool = False
    chunk_size: int = 16_384

    def __post_init__(self) -> None:
        for name in ("segment_length", "candidate_factor", "chunk_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.pool is not None and self.pool < 1:
            raise ValueError(f"pool must be at least 1 episode, or None for all, got {self.pool}")
        if self.score is not None and self.score not in SCORES:
            raise ValueError(f"score must be one of {get_args(ScoreName)}, got {self.score!r}")
        if self.k_center and self.score and self.candidate_factor == 1:
            raise ValueError(
                "k-center among the better half of the candidates needs a candidate_factor of at "
                "least 2, got 1"
            )


SAMPLERS: dict[str, SamplerConfig] = {
    "uniform": SamplerConfig(),
    "disagreement": SamplerConfig(score="disagreement"),
    "entropy": SamplerConfig(score="entropy"),
    "k-center": SamplerConfig(k_center=True),
    "k-center+disagreement": SamplerConfig(k_center=True, score="disagreement"),
    "k-center+entropy": SamplerConfig(k_center=True, score="entropy"),
    "mutual-information": SamplerConfig(score="mutual-information"),
    "near-on-policy": SamplerConfig(pool=10),
    "near-on-policy+disagreement": SamplerConfig(pool=10, score="disagreement"),
    "near-on-policy+entropy": SamplerConfig(pool=10, score="entropy"),
    "near-on-policy+mutual-information": SamplerConfig(pool=10, score="mutual-information"),
    "near-on-policy+k-center": SamplerConfig(pool=10, k_center=True),
}
"""Samplers by name: those of B-Pref, of QPA (near on-policy), and their combinations."""


def make_sampler(sampler: str | SamplerConfig, **changes: Any) -> "QuerySampler":
    """Return a sampler.

    Args:
        sampler: a name of `SAMPLERS`, or the configuration itself.
        **changes: fields of `SamplerConfig` to replace, for instance `segment_length=25`.

    Raises:
        ValueError: if the name is unknown, with the nearest ones, or a value is illegal.
    """
    config = look_up("sampler", sampler, SAMPLERS) if isinstance(sampler, str) else sampler
    return QuerySampler(replace(config, **changes))


class QuerySampler:
    """Draws candidate pairs, ranks them by a score and spreads them by k-center.

    Both segments of a candidate are independent and uniform over all windows of the pool's
    episodes (B-Pref draws the episode first, which is the same for episodes of one length). The
    queries are uniform as long as a score has no model, or k-center no labelled query, to go by:
    that is the first session. Only indices are kept; segments are gathered where they are read.

    Args:
        config: what to combine.
    """

    def __init__(self, config: SamplerConfig | None = None) -> None:
        self.config = config or SamplerConfig()

    def __call__(
        self,
        replay: SegmentSource,
        model: SegmentModel | None,
        number: int,
        generator: torch.Generator,
        labelled: SegmentIndex | None = None,
    ) -> SegmentIndex:
        """Return `number` pairs of segments, `[number, 2]`; see `Sampler`.

        Raises:
            ValueError: if no episode of the pool is long enough, if the score needs several
                members and the model has one, or if no pair without overlap can be found.
        """
        if number < 1:
            raise ValueError(f"number must be at least 1, got {number}")
        score, k_center = self.config.score, self.config.k_center
        has_no_guide = (score is not None and model is None) or (k_center and not labelled)
        if has_no_guide or not (score or k_center):
            return self._draw(replay, number, generator)
        candidates = self._draw(replay, number * self.config.candidate_factor, generator)
        if score is not None and model is not None:
            order = rank(self._scores(replay, model, candidates, score))
            candidates = candidates[order[: len(candidates) // 2 if k_center else number]]
        if k_center and labelled:
            candidates = candidates[self._far_apart(replay, candidates, labelled, number)]
        return candidates

    def can_draw(self, replay: SegmentSource, number: int) -> bool:
        """Return whether the pool holds segments for `number` queries; see `PoolSampler`."""
        device = replay.completed_episodes(self.config.pool).device
        try:
            self._draw(replay, number, torch.Generator(device).manual_seed(0))
        except ValueError:  # every episode of the pool is shorter, or there is none
            return False
        return True

    def _draw(self, replay: SegmentSource, number: int, generator: torch.Generator) -> SegmentIndex:
        episodes = replay.completed_episodes(self.config.pool)

        def draw(count: int) -> SegmentIndex:
            return replay.sample_segments(
                2 * count, self.config.segment_length, generator, episodes
            ).reshape(count, 2)

        pairs = draw(number)
        if not self.config.reject_overlap:
            return pairs
        for _ in range(_MAX_REDRAWS):
            keep = pairs[~overlaps(pairs)]
            if len(keep) == number:
                return keep
            pairs = SegmentIndex.cat([keep, draw(number - len(keep))])
        raise ValueError(
            f"{len(episodes)} episodes hold too few pairs of segments of "
            f"{self.config.segment_length} steps that do not overlap; collect more episodes, "
            "choose shorter segments or a larger pool, or allow overlap"
        )

    def _scores(
        self, replay: SegmentSource, model: SegmentModel, queries: SegmentIndex, score: ScoreName
    ) -> Float[Tensor, " query"]:
        margins = query_margins(replay, model, queries, self.config.chunk_size)
        if len(margins) == 1 and score in NEEDS_ENSEMBLE:
            raise ValueError(
                f"the score {score!r} compares members of an ensemble and the reward model has "
                "one: give it more members or choose 'entropy'"
            )
        return SCORES[score](margins)

    def _far_apart(
        self,
        replay: SegmentSource,
        candidates: SegmentIndex,
        labelled: SegmentIndex,
        number: int,
    ) -> Tensor:
        """Return the positions of `number` candidates by greedy k-center."""
        horizon = int(max(candidates.length.max(), labelled.length.max()))
        points = observation_features(replay, candidates, horizon)
        chunk = max(1, self.config.chunk_size // (2 * horizon))
        nearest = points.new_full((len(points),), torch.inf)
        for start in range(0, len(labelled), chunk):
            centres = observation_features(replay, labelled[start : start + chunk], horizon)
            nearest = nearest.minimum(nearest_distance(points, centres))
        return greedy_k_center(points, nearest, number)


def overlaps(queries: SegmentIndex) -> Bool[Tensor, " query"]:
    """Return for which queries `[query, 2]` the two segments share a step."""
    start_0, start_1 = queries.start.unbind(1)
    end_0, end_1 = (queries.start + queries.length).unbind(1)
    same_episode = queries.episode[:, 0] == queries.episode[:, 1]
    return same_episode & (start_0 < end_1) & (start_1 < end_0)


def observation_features(
    replay: SegmentSource, queries: SegmentIndex, horizon: int
) -> Float[Tensor, "query feature"]:
    """Return the observations of both segments in one row, `2 * horizon * obs` numbers.

    As in B-Pref: no actions, no scaling of the inputs, and swapping the segments gives another
    point. Segments shorter than `horizon` end in zeros.
    """
    observations = replay.gather(queries).observations  # [query, 2, time, obs]
    missing = horizon - observations.shape[2]
    return torch.nn.functional.pad(observations, (0, 0, 0, missing)).flatten(1)
