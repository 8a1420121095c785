"""Which methods a dataset suits, and what speaks against the others."""

from dataclasses import dataclass
from typing import Literal

from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.report.coverage import Coverage
from pbrl.offline.report.summary import DatasetSummary

Verdict = Literal["yes", "with care", "no"]

SEGMENT_LENGTH = 64  # CPL (Hejna et al. 2024); others use 25 to 100
FEW_WINDOWS = 1_000  # segments that hardly overlap in meaning need more than this
SPARSE = 0.99  # share of zero rewards from which returns hardly tell episodes apart
NARROW = 0.02  # relative spread of returns below which there is no better part to clone
SATURATED = 0.5  # share of actions at their bounds from which a density says little
NOISELESS = 0.02  # standard deviation of actions below which nothing was tried out


@dataclass(frozen=True)
class Fit:
    """How well a dataset suits a method.

    Attributes:
        agent: name of the method.
        verdict: whether it can learn from the dataset.
        reason: what speaks for or against it.
    """

    agent: str
    verdict: Verdict
    reason: str


def suitability(
    dataset: OfflineDataset, summary: DatasetSummary, coverage: Coverage
) -> tuple[Fit, ...]:
    """Return a verdict on every offline method, from rules of thumb.

    Args:
        dataset: the data.
        summary: of its episodes.
        coverage: of its states and actions.
    """
    windows = _num_windows(dataset)
    return (
        _cloning(summary),
        _best_part(summary),
        _true_reward(dataset, summary),
        _learned_reward(dataset, windows),
        *(_direct(agent, coverage, windows) for agent in ("sft", "cpl")),
        _inverse(dataset, windows),
    )


def _num_windows(dataset: OfflineDataset) -> int:
    replay = dataset.replay
    lengths = replay.episode_lengths(replay.completed_episodes())
    return int((lengths - SEGMENT_LENGTH + 1).clamp(min=0).sum())


def _cloning(summary: DatasetSummary) -> Fit:
    if _is_narrow(summary):
        return Fit("bc", "yes", "all episodes return about the same")
    low, high = summary.returns.percentiles[0], summary.returns.percentiles[-1]
    return Fit("bc", "with care", f"imitates episodes that return {low:,.4g} to {high:,.4g} alike")


def _best_part(summary: DatasetSummary) -> Fit:
    if _is_narrow(summary):
        return Fit("bc, best 10 %", "no", "no episode is clearly better than another")
    num_best = summary.num_episodes // 10
    verdict: Verdict = "yes" if num_best >= 10 else "with care"  # noqa: PLR2004  a handful
    return Fit("bc, best 10 %", verdict, f"{num_best} episodes are left to imitate")


def _is_narrow(summary: DatasetSummary) -> bool:
    scale = max(abs(summary.returns.least), abs(summary.returns.most))
    return summary.returns.most - summary.returns.least <= NARROW * scale


def _true_reward(dataset: OfflineDataset, summary: DatasetSummary) -> Fit:
    if not dataset.has_last_observations:
        return Fit("iql", "no", "loose segments: what follows the last action is unknown")
    if summary.rewards.std == 0:
        return Fit("iql", "no", f"every reward is {summary.rewards.mean:g}")
    if summary.zero_rewards >= SPARSE:
        return Fit("iql", "with care", f"{summary.zero_rewards:.1%} of the rewards are 0")
    return Fit("iql", "yes", "has true rewards and next observations")


def _learned_reward(dataset: OfflineDataset, windows: int) -> Fit:
    if not dataset.has_last_observations:
        return Fit("p-iql", "with care", "the last step of every segment is left out")
    return _with_labels("p-iql", windows, "learns from every step, labelled or not")


def _direct(agent: str, coverage: Coverage, windows: int) -> Fit:
    if coverage.at_bounds >= SATURATED:
        return Fit(agent, "with care", f"{coverage.at_bounds:.0%} of the actions are at a bound")
    if max(coverage.action_stds) < NOISELESS:
        return Fit(agent, "with care", "the actions hardly vary, so nothing is contrasted")
    return _with_labels(agent, windows, "needs labels and nothing else")


def _inverse(dataset: OfflineDataset, windows: int) -> Fit:
    reason = "the steps outside of labelled segments steady its values"
    if not dataset.has_last_observations:
        reason = "loose segments: no other steps to steady its values"
    return _with_labels("ipl", windows, reason)


def _with_labels(agent: str, windows: int, reason: str) -> Fit:
    if windows == 0:
        return Fit(agent, "with care", f"no episode has {SEGMENT_LENGTH} steps: label shorter ones")
    if windows < FEW_WINDOWS:
        return Fit(agent, "with care", f"only {windows} segments of {SEGMENT_LENGTH} steps")
    return Fit(agent, "yes", reason)
