"""Windows: consecutive steps of one episode, with what sequence models condition on."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class WindowSizes:
    """Which windows of a dataset an update draws.

    Attributes:
        number: how many, at least 1.
        steps: of a window, at least 1; at the ends of an episode there may be fewer.
        padding: where a shorter window is filled up. "left" leaves the last step of every window in
            the last place.
        anchor: every step of the dataset is equally likely to be the "first" of a window, which
            then ends early near the end of an episode, or the "last", which makes windows short
            near its beginning.
        draw: "steps" draws over all steps, so that a longer episode is drawn more often; "episodes"
            draws the episode first.
        episode_steps: cut the steps of the dataset, in their order, into pieces of this length and
            take those for episodes, whatever really began and ended in them, as the released code
            of DTR does (Tu et al. 2025); see `piece_rows`. None keeps to the episodes.
        num_timesteps: places in an episode that the learner knows; longer episodes are refused.
    """

    number: int
    steps: int = 20
    padding: Literal["left", "right"] = "left"
    anchor: Literal["first", "last"] = "first"
    draw: Literal["steps", "episodes"] = "steps"
    episode_steps: int | None = None
    num_timesteps: int | None = None

    def __post_init__(self) -> None:
        for name in ("number", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} of windows must be at least 1, got {getattr(self, name)}")
        if self.episode_steps is not None and self.episode_steps < self.steps:
            raise ValueError(
                f"episode_steps must be None or at least the {self.steps} steps of a window, got "
                f"{self.episode_steps}"
            )


@dataclass(frozen=True)
class WindowBatch:
    """Windows, gathered; padding is zero and masked.

    Attributes:
        observations: what the agent saw.
        actions: what it did, in [-1, 1].
        rewards: the reward to learn from.
        returns_to_go: sum of the rewards from each step to the end of its episode, undiscounted.
        timesteps: place of each step in its episode, from 0.
        mask: true where there is a step.
        terminated: whether the last step of the window ended its episode in a terminal state.
        rows: place of the window's anchor among all steps of the dataset.
    """

    observations: Float[Tensor, "window time obs"]
    actions: Float[Tensor, "window time act"]
    rewards: Float[Tensor, "window time"]
    returns_to_go: Float[Tensor, "window time"]
    timesteps: Int[Tensor, "window time"]
    mask: Bool[Tensor, "window time"]
    terminated: Bool[Tensor, " window"]
    rows: Int[Tensor, " window"]

    def __len__(self) -> int:
        return len(self.mask)


def piece_rows(
    lengths: Int[Tensor, " episode"], terminated: Bool[Tensor, " episode"], piece_steps: int
) -> Int[Tensor, "piece step"]:
    """Return which steps of a dataset make up each piece of a fixed length.

    The released code of DTR cuts what D4RL's `qlearning_dataset` returns, in which an episode that
    was cut off is without its last step; so it is here. A last shorter piece is left out.

    Args:
        lengths: steps of each episode of the dataset, one after the other.
        terminated: whether each ended in a terminal state.
        piece_steps: the length.

    Raises:
        ValueError: if there is no whole piece.
    """
    is_kept = torch.ones(int(lengths.sum()), dtype=torch.bool, device=lengths.device)
    is_kept[lengths.cumsum(0)[~terminated] - 1] = False
    rows = is_kept.nonzero()[:, 0]
    number = len(rows) // piece_steps
    if number == 0:
        raise ValueError(
            f"{len(rows)} steps, without the last of each episode that was cut off, do not make a "
            f"piece of {piece_steps}"
        )
    return rows[: number * piece_steps].view(number, piece_steps)
