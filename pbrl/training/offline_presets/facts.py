"""What a preset is chosen by, and what it says."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pbrl.offline.dataset import DatasetInfo
from pbrl.training.config import EnvironmentConfig
from pbrl.training.reward_stage import RewardStageConfig

Benchmark = Literal["metaworld", "antmaze", "adroit", "mujoco", "kitchen", "robomimic", "other"]

# Looked for in this order: Meta-World has a hammer and doors too.
_NAMES: tuple[tuple[Benchmark, tuple[str, ...]], ...] = (
    ("metaworld", ("metaworld", "mw_")),
    ("antmaze", ("antmaze",)),
    ("kitchen", ("kitchen",)),
    ("adroit", ("pen-", "pen/", "door-", "door/", "hammer-", "hammer/", "relocate", "adroit")),
    ("mujoco", ("hopper", "walker2d", "halfcheetah", "half-cheetah", "ant-", "ant/", "mujoco/")),
    ("robomimic", ("lift", "can_", "can-", "square", "transport", "robomimic")),
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a preset needs to know of the data.

    Attributes:
        info: of the dataset.
        segment_steps: steps of the longest labelled segment; None without labels.
        num_labels: labels, or scored segments.
        draws_pairs: whether pairs are drawn of scored segments, or labelled as they are asked for,
            so that there are as many as one likes.
    """

    info: DatasetInfo
    segment_steps: int | None = None
    num_labels: int = 0
    draws_pairs: bool = False

    def num_pairs(self, drawn: int) -> int:
        """Return how many pairs a reward is fitted to, at least 1.

        Args:
            drawn: how many are drawn where they are.
        """
        return drawn if self.draws_pairs else max(1, self.num_labels)

    @property
    def benchmark(self) -> Benchmark:
        """What the dataset belongs to."""
        return benchmark_of(self.info)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a preset says; the names are those of `FitConfig`."""

    method: Any
    steps: int
    eval_every: int
    eval_episodes: int = 10
    reward: RewardStageConfig | None = None
    best_share: float = 1.0
    normalize_observations: bool = False
    environment: EnvironmentConfig = field(
        default_factory=lambda: EnvironmentConfig(backend="official")
    )


class NoNumbersError(ValueError):
    """The paper did not run this method on such data."""


def benchmark_of(info: DatasetInfo) -> Benchmark:
    """Return the benchmark that a dataset belongs to, by its family, environment and name."""
    if info.family == "robomimic":
        return "robomimic"
    text = f"{info.env or ''} {info.name}".lower()
    for benchmark, parts in _NAMES:
        if any(part in text for part in parts):
            return benchmark
    return "other"
