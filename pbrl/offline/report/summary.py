"""How many episodes a dataset has, how long they are, what they return and how they end."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.steps import DatasetSteps, dataset_steps

PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a number is distributed.

    Attributes:
        mean: of all values.
        std: standard deviation.
        least: the smallest value.
        most: the largest.
        percentiles: the 5th, 25th, 50th, 75th and 95th.
    """

    mean: float
    std: float
    least: float
    most: float
    percentiles: tuple[float, ...]

    @staticmethod
    def of(values: Float[np.ndarray, " value"]) -> "Spread":
        """Return the spread of at least one value."""
        return Spread(
            mean=float(values.mean()),
            std=float(values.std()),
            least=float(values.min()),
            most=float(values.max()),
            percentiles=tuple(float(one) for one in np.percentile(values, PERCENTILES)),
        )


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """What the episodes of a dataset come to.

    Attributes:
        num_episodes: complete episodes.
        num_steps: steps of all of them.
        lengths: steps of an episode.
        returns: sum of the true rewards of an episode.
        normalized: the same between the reference scores, 0 and 100; None without references.
        rewards: of a single step.
        zero_rewards: share of the steps with a reward of exactly 0.
        num_terminated: episodes that ended in a terminal state.
        num_longest: of the others, those as long as the longest of them: probably time-outs.
        num_cut: the rest: cut off at some other time.
    """

    num_episodes: int
    num_steps: int
    lengths: Spread
    returns: Spread
    normalized: Spread | None
    rewards: Spread
    zero_rewards: float
    num_terminated: int
    num_longest: int
    num_cut: int


def summarize(dataset: OfflineDataset) -> DatasetSummary:
    """Return what the episodes of a dataset come to."""
    steps = dataset_steps(dataset.replay)
    returns = steps.returns().cpu().numpy()
    rewards = steps.true_rewards.cpu().double().numpy()
    reference = dataset.info.reference
    num_longest, num_cut = _endings(steps)
    return DatasetSummary(
        num_episodes=len(steps.lengths),
        num_steps=len(steps),
        lengths=Spread.of(steps.lengths.cpu().double().numpy()),
        returns=Spread.of(returns),
        normalized=None if reference is None else Spread.of(_normalized(dataset, returns)),
        rewards=Spread.of(rewards),
        zero_rewards=float((rewards == 0).mean()),
        num_terminated=int(steps.terminated.sum()),
        num_longest=num_longest,
        num_cut=num_cut,
    )


def _normalized(
    dataset: OfflineDataset, returns: Float[np.ndarray, " episode"]
) -> Float[np.ndarray, " episode"]:
    assert dataset.info.reference is not None
    return np.asarray(dataset.info.reference.normalized(returns))


def _endings(steps: DatasetSteps) -> tuple[int, int]:
    """Return how many episodes did not terminate: as long as the longest of these, and shorter."""
    lengths = steps.lengths[~steps.terminated]
    if len(lengths) == 0:
        return 0, 0
    num_longest = int((lengths == lengths.max()).sum())
    return num_longest, len(lengths) - num_longest
