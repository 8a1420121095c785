"""Scores of segments under a policy: what direct methods put in place of a sum of rewards."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor

from pbrl.agents.policies import Policy
from pbrl.preference import mean_score, sum_score

PolicyScoreName = Literal["likelihood", "log-ratio", "distance"]


@dataclass(frozen=True, kw_only=True)
class PolicyScoreConfig:
    """Which score; the defaults are CPL's (Hejna et al. 2024, table 6).

    Attributes:
        name: "likelihood" scores a step by log pi(a | s); "log-ratio" by log pi(a | s) minus that
            of a frozen reference, as DPO (Rafailov et al. 2023) and CPL's KL variant; "distance" by
            minus half the Euclidean distance between the mean action and the action, as DPPO (An et
            al. 2023).
        scale: alpha, positive. What counts is alpha times the number of steps: 0.1 belongs to
            segments of 64. DPPO: 1 / T, 10 there, on averages.
        discount: gamma, counted from the first step of the segment, in (0, 1].
        average: divide by the number of steps, as IPO and DPPO do.
    """

    name: PolicyScoreName = "likelihood"
    scale: float = 0.1
    discount: float = 1.0
    average: bool = False

    def __post_init__(self) -> None:
        if self.name not in get_args(PolicyScoreName):
            raise ValueError(f"name must be one of {get_args(PolicyScoreName)}, got {self.name!r}")
        if self.scale <= 0:
            raise ValueError(f"scale must be positive, got {self.scale}")
        if not 0 < self.discount <= 1:
            raise ValueError(f"discount must lie in (0, 1], got {self.discount}")


def segment_score(
    config: PolicyScoreConfig,
    values: Float[Tensor, "*shape time"],
    mask: Bool[Tensor, "*#shape time"],
) -> Float[Tensor, "*shape"]:
    """Return alpha sum_t gamma^t value_t over the steps of each segment, or alpha times the mean.

    Args:
        config: what the values are multiplied by.
        values: one number per step.
        mask: true where the step belongs to the segment.
    """
    if config.discount < 1:
        time = torch.arange(values.shape[-1], device=values.device)
        values = values * config.discount**time
    reduce = mean_score if config.average else sum_score
    return config.scale * reduce(values, mask)


def half_distance(
    mean: Float[Tensor, "*batch act"], actions: Float[Tensor, "*batch act"]
) -> Float[Tensor, "*batch"]:
    """Return ||mean - action|| / 2, at most sqrt(act), with a gradient of zero where they agree."""
    squared = (mean - actions).square().sum(-1)
    is_apart = squared > 0
    # The root of zero has an infinite slope, which `where` alone would turn into NaN.
    return torch.where(is_apart, torch.where(is_apart, squared, 1.0).sqrt() / 2, 0.0)


def step_values(
    name: PolicyScoreName,
    policy: Policy,
    reference: Policy | None,
    observations: Real[Tensor, "*batch obs"],
    actions: Float[Tensor, "*batch act"],
) -> Float[Tensor, "*batch"]:
    """Return the number that a score gives each step, differentiable in the policy.

    Args:
        name: of the score.
        policy: whose segments are scored; in training mode with dropout.
        reference: of the log-ratio, in evaluation mode; others ignore it.
        observations: of the steps.
        actions: of the steps, in [-1, 1].
    """
    match name:
        case "distance":
            return -half_distance(policy.mean(observations), actions)
        case "log-ratio":
            assert reference is not None  # the agent made it
            with torch.no_grad():
                by_reference = reference.log_prob(observations, actions)
            return policy.log_prob(observations, actions) - by_reference
        case "likelihood":
            return policy.log_prob(observations, actions)
