"""Simulated teachers: labels from the environment's true reward, with human failings."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.feedback import TIE, Answers, Queries
from pbrl.segments import Segments

GapScale = Literal["sum", "per-step", "batch", "running"]
ThresholdRule = Literal["return", "range"]


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """A teacher in the terms of B-Pref (Lee et al. 2021, section 3); the default is its oracle.

    Attributes:
        rationality: beta, inverse temperature of the choice, positive. None is a teacher who never
            errs (B-Pref writes -1), and who then prefers segment 0 on an exact tie.
        discount: gamma in [0, 1]; a step counts gamma^(steps until the segment's end), so the last
            step counts 1 and a myopic teacher remembers the end best.
        mistake_probability: eps_mistake in [0, 1], the chance that a choice is flipped.
        skip_threshold: eps_skip >= 0; larger skips more of the queries without a good segment.
        equal_threshold: eps_equal >= 0; larger finds more pairs equal.
        gap_scale: what the gap between the two returns is divided by before `rationality` applies.
            "sum" divides by one, as B-Pref; "per-step" by the number of steps; "batch" by the root
            mean square of the gaps asked at once; "running" by that of all gaps asked so far.
        threshold_rule: what the two thresholds are fractions of. "return": of what an average
            recent episode earns in as many steps as the segment has, as B-Pref, which never skips
            nor finds equal while that is not positive. "range": of the spread between the worst
            and the best segment seen so far (mean reward per step, times the segment's length),
            counted from the worst; this works for rewards of any sign.
        compat: "double-eps" multiplies thresholds by their eps a second time from the second
            session on, as the published PEBBLE code does (eps 0.1 acts as 0.01).
    """

    rationality: float | None = None
    discount: float = 1.0
    mistake_probability: float = 0.0
    skip_threshold: float = 0.0
    equal_threshold: float = 0.0
    gap_scale: GapScale = "sum"
    threshold_rule: ThresholdRule = "return"
    compat: Literal["double-eps"] | None = None

    def __post_init__(self) -> None:
        if self.rationality is not None and not 0 < self.rationality < math.inf:
            raise ValueError(
                f"rationality must be positive and finite, or None for a teacher who never errs, "
                f"got {self.rationality}"
            )
        for name in ("discount", "mistake_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        for name in ("skip_threshold", "equal_threshold"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name, legal in (("gap_scale", GapScale), ("threshold_rule", ThresholdRule)):
            if getattr(self, name) not in get_args(legal):
                raise ValueError(
                    f"{name} must be one of {get_args(legal)}, got {getattr(self, name)!r}"
                )
        if self.compat not in (None, "double-eps"):
            raise ValueError(f"compat must be 'double-eps' or None, got {self.compat!r}")
        if self.compat is not None and self.threshold_rule != "return":
            raise ValueError("compat='double-eps' only exists for threshold_rule='return'")


TEACHERS: dict[str, TeacherConfig] = {
    "oracle": TeacherConfig(),
    "noisy": TeacherConfig(rationality=1.0),
    "mistake": TeacherConfig(mistake_probability=0.1),
    "skip": TeacherConfig(skip_threshold=0.1),
    "myopic": TeacherConfig(discount=0.9),
    "equal": TeacherConfig(equal_threshold=0.1),
}
"""The six teachers of B-Pref, with the numbers of its scripts."""


def discounted_returns(segments: Segments, discount: float) -> Float[Tensor, "*shape"]:
    """Return the sum of gamma^(H - t) r_t over each segment, t = 1..H, in float64."""
    steps_left = segments.mask.flip(-1).cumsum(-1).flip(-1) - 1  # 0 at the last step
    weights = discount ** steps_left.clamp_min(0).double()
    rewards = segments.true_rewards.double().masked_fill(~segments.mask, 0.0)
    return (rewards * weights).sum(-1)


def choice_probability(
    gap: Float[Tensor, " query"], rationality: float | None, mistake_probability: float
) -> Float[Tensor, " query"]:
    """Return the probability of choosing segment 1.

    sigmoid(beta * gap), or 1[gap > 0] without beta, then flipped with the mistake probability.

    Args:
        gap: return of segment 1 minus return of segment 0.
        rationality: beta; None never errs.
        mistake_probability: chance of a flip.
    """
    right = (gap > 0).to(gap.dtype) if rationality is None else (rationality * gap).sigmoid()
    return right * (1 - mistake_probability) + (1 - right) * mistake_probability


def adaptive_threshold(
    fraction: float, length: Float[Tensor, " query"], recent_return: float, episode_length: int
) -> Float[Tensor, " query"]:
    """Return eps (H / T) R: a fraction of what a recent episode earns in `length` steps."""
    return recent_return * (length / episode_length) * fraction


class SimulatedTeacher:
    """Answers every query at once from the true rewards, in B-Pref's order of operations.

    A query whose better segment stays at or below the skip threshold is skipped. Otherwise one
    segment is chosen and perhaps mistaken for the other; a pair whose undiscounted returns differ
    by less than the equal threshold is a tie whatever was chosen. Segments of a pair may differ in
    length; thresholds then use the longer one.

    Args:
        config: how it judges.
        name: its annotator id.
    """

    def __init__(self, config: TeacherConfig | None = None, *, name: str = "simulated") -> None:
        self.config = config or TeacherConfig()
        self.name = name
        self._num_sessions = 0
        self._num_gaps = 0
        self._sum_squared_gaps = 0.0
        self._lowest = math.inf  # mean reward per step of the worst segment seen
        self._highest = -math.inf

    def __call__(self, queries: Queries, generator: torch.Generator) -> Answers:
        """Return one answer per query.

        Raises:
            ValueError: if a true reward is not finite, or the recent return is needed and is not.
        """
        if len(queries) == 0:
            return Answers.of(queries.ids, queries.segments.true_rewards.new_zeros(0), self.name)
        segments = queries.segments
        returns = discounted_returns(segments, 1.0)  # [query, 2]
        if not bool(returns.isfinite().all()):
            raise ValueError("a simulated teacher needs finite true rewards, a segment has others")
        length = segments.mask.sum(-1)  # [query, 2]
        skipped, equal = self._sort_out(queries, returns, length.double())
        gap = discounted_returns(segments, self.config.discount).diff(dim=-1)[:, 0]
        probability = choice_probability(
            self._scaled(gap, length.amax(-1)),
            self.config.rationality,
            self.config.mistake_probability,
        )
        draw = torch.rand(
            len(queries), generator=generator, dtype=torch.float64, device=generator.device
        )
        labels = (draw.to(gap.device) < probability).float()
        labels = labels.masked_fill(equal, TIE).masked_fill(skipped, torch.nan)
        self._num_sessions += 1
        return Answers.of(queries.ids, labels, self.name)

    def _sort_out(
        self, queries: Queries, returns: Tensor, length: Tensor
    ) -> tuple[Bool[Tensor, " query"], Bool[Tensor, " query"]]:
        """Return which queries are skipped and which are ties."""
        if self.config.threshold_rule == "return":
            skip_limit, equal_limit = self._fractions_of_return(queries, length.amax(-1))
        else:
            skip_limit, equal_limit = self._fractions_of_range(returns, length)
        skipped = returns.amax(-1) <= skip_limit
        equal = returns.diff(dim=-1)[:, 0].abs() < equal_limit
        return skipped, equal

    def _fractions_of_return(self, queries: Queries, length: Tensor) -> tuple[Tensor, Tensor]:
        skip, equal = self.config.skip_threshold, self.config.equal_threshold
        if (skip or equal) and not math.isfinite(queries.recent_return):
            raise ValueError(f"recent_return must be finite, got {queries.recent_return}")
        recent = (queries.recent_return, queries.episode_length)
        skip_limit = adaptive_threshold(skip, length, *recent)
        equal_limit = adaptive_threshold(equal, length, *recent)
        if self.config.compat == "double-eps" and self._num_sessions > 0:
            skip_limit, equal_limit = skip_limit * skip, equal_limit * equal
        return skip_limit.masked_fill(skip_limit <= 0, -torch.inf), equal_limit

    def _fractions_of_range(self, returns: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        mean = returns / length.clamp_min(1)
        self._lowest = min(self._lowest, float(mean.min()))
        self._highest = max(self._highest, float(mean.max()))
        spread = self._highest - self._lowest
        longer = length.amax(-1)
        skip, equal = self.config.skip_threshold, self.config.equal_threshold
        lowest_kept = self._lowest + skip * spread if skip * spread > 0 else -math.inf
        return longer * lowest_kept, longer * (equal * spread)

    def _scaled(self, gap: Tensor, length: Tensor) -> Float[Tensor, " query"]:
        """Return the gaps in the unit that `rationality` acts on."""
        squared = float(gap.square().sum())
        self._sum_squared_gaps += squared
        self._num_gaps += len(gap)
        match self.config.gap_scale:
            case "sum":
                return gap
            case "per-step":
                return gap / length.clamp_min(1)
            case "batch":
                spread = math.sqrt(squared / len(gap))
            case "running":
                spread = math.sqrt(self._sum_squared_gaps / self._num_gaps)
        return gap / (spread or 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers from session to session, as plain numbers."""
        return {
            "num_sessions": self._num_sessions,
            "num_gaps": self._num_gaps,
            "sum_squared_gaps": self._sum_squared_gaps,
            "lowest": self._lowest,
            "highest": self._highest,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._num_sessions = int(state["num_sessions"])
        self._num_gaps = int(state["num_gaps"])
        self._sum_squared_gaps = float(state["sum_squared_gaps"])
        self._lowest = float(state["lowest"])
        self._highest = float(state["highest"])
