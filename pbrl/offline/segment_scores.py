"""Scores of segments by return or by regret, as sums of what every step contributes."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

ScoreName = Literal["return", "discounted-return", "regret", "discounted-regret"]


def needs_value(score: ScoreName) -> bool:
    """Say whether a score needs a value function."""
    return score in ("regret", "discounted-regret")


def step_contributions(
    score: ScoreName,
    rewards: Float[Tensor, "*shape time"],
    values: Float[Tensor, "*shape time"] | None,
    mask: Bool[Tensor, "*shape time"],
    discount: float,
) -> Float[Tensor, "*shape time"]:
    """Return what each step adds to the score of its segment, in float64.

    With H the number of steps of a segment, t counted from its first:

    - return: r_t, which sum to the return;
    - discounted-return: gamma^t r_t;
    - regret: r_t + V(s_{t+1}) - V(s_t) for t < H - 1 and 0 for the last step. They sum to
      r_0 + ... + r_{H-2} + V(s_{H-1}) - V(s_0), the label rule of CPL's code (Hejna et al. 2024,
      scripts/add_pref_labels.py, key rl_sum): not discounted although V is, and without the last
      action. It is minus the regret of the segment, so that higher is better.
    - discounted-regret: gamma^t (r_t + gamma V(s_{t+1}) - V(s_t)) for t < H - 1.

    Args:
        score: which.
        rewards: r_t.
        values: V(s_t), where the score needs them.
        mask: true where the step belongs to the segment.
        discount: gamma of the discounted scores, and of V.

    Raises:
        ValueError: if values are needed and not given, or the score is unknown.
    """
    rewards = rewards.double().masked_fill(~mask, 0.0)
    time = torch.arange(mask.shape[-1], device=mask.device)
    gamma = discount if score.startswith("discounted") else 1.0
    weights = gamma ** time.double()
    match score:
        case "return" | "discounted-return":
            return weights * rewards
        case "regret" | "discounted-regret":
            if values is None:
                raise ValueError(f"the score {score} needs a value function")
            values = values.double().masked_fill(~mask, 0.0)
            advantages = rewards[..., :-1] + gamma * values[..., 1:] - values[..., :-1]
            steps = weights[:-1] * advantages.masked_fill(~mask[..., 1:], 0.0)
            return torch.nn.functional.pad(steps, (0, 1))
        case _:
            raise ValueError(f"unknown score {score!r}")
