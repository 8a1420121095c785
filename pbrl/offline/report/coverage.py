"""Which states and actions a dataset holds, and how much of it is there twice."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt64
from torch import Tensor

from pbrl.offline.steps import DatasetSteps

NUM_BINS = 10  # per action dimension
LEAST_SHARE = 0.001  # of the steps, for a bin to count as visited
AT_BOUND = 0.999  # magnitude from which an action counts as at its bound
CONSTANT = 1e-6  # largest standard deviation of a number that does not change
_MULTIPLIER_SEED = 0x9E3779B9


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How far states and actions spread.

    Attributes:
        observation_dim: observed numbers.
        constant_dims: places of those that never change.
        effective_dim: how many directions the others vary in: the participation ratio of their
            correlations, (sum of eigenvalues)^2 / (sum of their squares), from 1 to their number.
        largest_observation: the largest magnitude of an observed number.
        action_dim: size of an action.
        action_means: mean of each action dimension.
        action_stds: standard deviation of each.
        at_bounds: share of action components at -1 or 1.
        visited_bins: share of ten equal bins of [-1, 1] per action dimension that hold at least a
            thousandth of the steps.
    """

    observation_dim: int
    constant_dims: tuple[int, ...]
    effective_dim: float
    largest_observation: float
    action_dim: int
    action_means: tuple[float, ...]
    action_stds: tuple[float, ...]
    at_bounds: float
    visited_bins: float


def cover(steps: DatasetSteps) -> Coverage:
    """Return how far states and actions spread."""
    observations, actions = steps.observations.double(), steps.actions.double()
    std = observations.std(0, unbiased=False)
    varies = std > CONSTANT
    bins = ((actions + 1) / 2 * NUM_BINS).long().clamp(0, NUM_BINS - 1)  # [step, act]
    counts = torch.nn.functional.one_hot(bins, NUM_BINS).sum(0)  # [act, bin]
    return Coverage(
        observation_dim=observations.shape[1],
        constant_dims=tuple((~varies).nonzero()[:, 0].tolist()),
        effective_dim=_effective_dim(observations[:, varies]),
        largest_observation=float(observations.abs().max()),
        action_dim=actions.shape[1],
        action_means=tuple(actions.mean(0).tolist()),
        action_stds=tuple(actions.std(0, unbiased=False).tolist()),
        at_bounds=float((actions.abs() >= AT_BOUND).double().mean()),
        visited_bins=float((counts >= LEAST_SHARE * len(steps)).double().mean()),
    )


def _effective_dim(observations: Float[Tensor, "step obs"]) -> float:
    """Return the participation ratio of the correlation matrix; 0 where nothing varies."""
    if observations.shape[1] == 0:
        return 0.0
    standard = (observations - observations.mean(0)) / observations.std(0, unbiased=False)
    correlation = standard.T @ standard / len(standard)
    return float(correlation.diagonal().sum() ** 2 / correlation.square().sum())


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What is in a dataset more than once.

    Attributes:
        episodes: episodes equal to an earlier one in every step.
        steps: share of the steps whose observation, action and reward an earlier step has too.
        observations: share of the steps whose observation an earlier step has too.
    """

    episodes: int
    steps: float
    observations: float


def count_duplicates(steps: DatasetSteps) -> Duplicates:
    """Count what is there twice, by 64 bits of a hash of the stored numbers."""
    seen = steps.observations.cpu().numpy()
    rest = np.concatenate(
        [steps.actions.cpu().numpy(), steps.true_rewards.cpu().numpy()[:, None]], 1
    )
    observations = hash_rows(seen)
    whole = observations * np.uint64(3) + hash_rows(rest)
    # An episode's hash is that of its steps' in their order.
    ends = steps.lengths.cumsum(0).cpu().numpy()
    first = ends - steps.lengths.cpu().numpy()
    place = np.arange(len(whole), dtype=np.uint64) - np.repeat(
        first.astype(np.uint64), steps.lengths.cpu().numpy()
    )
    ordered = whole * (place * np.uint64(2) + np.uint64(1))
    episodes = np.add.reduceat(ordered, first) + (ends - first).astype(np.uint64)
    return Duplicates(
        episodes=_num_repeated(episodes),
        steps=_num_repeated(whole) / len(whole),
        observations=_num_repeated(observations) / len(whole),
    )


def hash_rows(rows: Float[np.ndarray, "row column"]) -> UInt64[np.ndarray, " row"]:
    """Return a number for each row that equal rows share and different ones hardly ever do."""
    bits = np.ascontiguousarray(rows, np.float32).view(np.uint32).astype(np.uint64)
    rng = np.random.default_rng(_MULTIPLIER_SEED)
    multipliers = rng.integers(1, 2**63, bits.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    mixed = (bits + np.uint64(1)) * multipliers
    mixed ^= mixed >> np.uint64(29)
    total: np.ndarray = (mixed * multipliers).sum(1, dtype=np.uint64)
    return total


def _num_repeated(hashes: UInt64[np.ndarray, " item"]) -> int:
    return len(hashes) - len(np.unique(hashes))
