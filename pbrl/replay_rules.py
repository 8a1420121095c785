"""Which stored transitions an update learns from."""

from dataclasses import dataclass, fields

import torch

from pbrl.batches import ONE_STEP, BatchSteps
from pbrl.replay import Batch, ReplayBuffer


@dataclass(frozen=True, kw_only=True)
class ReplayRuleConfig:
    """Uniform replay, or the hybrid replay of QPA (Hu et al. 2024).

    Attributes:
        recent_share: omega, share of a batch drawn from the recent episodes only, in [0, 1];
            0 is uniform replay, QPA uses 0.5.
        recent_episodes: N, how many of the last complete episodes count as recent.
    """

    recent_share: float = 0.0
    recent_episodes: int = 10

    def __post_init__(self) -> None:
        if not 0.0 <= self.recent_share <= 1.0:
            raise ValueError(f"recent_share must lie in [0, 1], got {self.recent_share}")
        if self.recent_episodes < 1:
            raise ValueError(f"recent_episodes must be at least 1, got {self.recent_episodes}")


def sample_batch(
    replay: ReplayBuffer,
    config: ReplayRuleConfig,
    batch_size: int,
    generator: torch.Generator,
    steps: BatchSteps = ONE_STEP,
) -> Batch:
    """Draw a batch: floor(omega n) transitions from the recent episodes, the rest from everywhere.

    Before an episode is complete, everything is drawn uniformly; `steps` says how far transitions
    reach.
    """
    num_recent = int(config.recent_share * batch_size)
    recent = replay.completed_episodes(config.recent_episodes)
    if num_recent == 0 or len(recent) == 0:
        return replay.sample(batch_size, generator, steps=steps)
    num_others = batch_size - num_recent
    return _cat(
        replay.sample(num_others, generator, steps=steps) if num_others else None,
        replay.sample(num_recent, generator, episodes=recent, steps=steps),
    )


def _cat(first: Batch | None, second: Batch) -> Batch:
    if first is None:
        return second
    columns = (field.name for field in fields(second))
    return type(second)(
        **{name: torch.cat([getattr(first, name), getattr(second, name)]) for name in columns}
    )
