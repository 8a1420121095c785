"""Hindsight PRIOR: reward goes to the steps of a segment that a world model looks back on.

Verma and Metcalf 2024 (ICLR, arXiv 2404.08828). The term joins the loss of any reward ensemble that
learns from preferences. The paper's text could not be read in full: its weight, its world model's
sizes and whether it discounts are not known here, and the numbers are WiseRL's or ours, as said.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex, Segments
from pbrl.world_model import TOKENS_PER_STEP, WorldModelConfig, WorldModelLearner

SEGMENTS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class HindsightConfig:
    """The redistribution of a segment's return, and what it is redistributed by.

    Attributes:
        weight: lambda, of the term beside the cross-entropy, 0 or above. Ours is 0.1, with rewards
            in (-1, 1), the largest that did no harm where attention tells little (see the page
            credit-and-transfer of the documentation); WiseRL's 1000, its targets not detached. A
            large one is known to spoil the policy, and rewards shrink as it grows.
        detach: whether the targets carry no gradient. Then the term has no say in the segment's
            return (its gradient sums to 0); WiseRL does not detach.
        layers: whose attention counts: the "mean" over all, as in WiseRL, or the "last" one's.
        heads: the "mean" over them, or the largest weight of any, "max", scaled to sum to 1.
        world: the model and how it is trained.
    """

    weight: float = 0.1
    detach: bool = True
    layers: Literal["mean", "last"] = "mean"
    heads: Literal["mean", "max"] = "mean"
    world: WorldModelConfig = field(default_factory=WorldModelConfig)

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError(f"weight must not be negative, got {self.weight}")


def state_importance(
    attention: Float[Tensor, "layer segment head token"],
    *,
    layers: Literal["mean", "last"] = "mean",
    heads: Literal["mean", "max"] = "mean",
) -> Float[Tensor, "segment time"]:
    """Return alpha: the share of each step in the attention of a segment's last token.

    State and action of a step count alike. The shares are not negative and sum to 1.

    Args:
        attention: rows of the last token, which sum to 1, see `WorldModel.last_attention`.
        layers: see `HindsightConfig`.
        heads: likewise.
    """
    rows = attention.mean(2) if heads == "mean" else attention.amax(2)
    row = rows.mean(0) if layers == "mean" else rows[-1]  # [segment, token]
    shares: Tensor = row.unflatten(-1, (-1, TOKENS_PER_STEP)).sum(-1)
    return shares if heads == "mean" else shares / shares.sum(-1, keepdim=True)


def redistribution_loss(
    rewards: Float[Tensor, "*shape time"],
    importance: Float[Tensor, "*shape time"],
    mask: Bool[Tensor, "*#shape time"],
    *,
    detach: bool = True,
) -> Float[Tensor, "*shape"]:
    """Return the mean square of r_t - alpha_t G over the steps of each segment, G its return.

    It is 0 where the rewards are a multiple of alpha, whatever multiple: the term shapes rewards
    and leaves their scale and sign to the labels. The return is a plain sum.

    Args:
        rewards: predicted for each step.
        importance: alpha, 0 on padding.
        mask: false on padding.
        detach: whether alpha_t G carries no gradient.
    """
    kept = torch.where(mask, rewards, 0.0)
    target = importance * kept.sum(-1, keepdim=True)
    if detach:
        target = target.detach()
    return (kept - target).square().sum(-1) / mask.sum(-1).clamp(min=1)


class HindsightPrior:
    """A world model, and how important it finds each step of some segments.

    Args:
        config: the term and the model.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        generator: gives the seed of the stream that this part draws all of its numbers from, so
            that it takes none from the reward's.
    """

    def __init__(
        self,
        config: HindsightConfig,
        observation_dim: int,
        action_dim: int,
        *,
        generator: torch.Generator,
    ) -> None:
        self.config = config
        device = generator.device
        seed = torch.randint(2**31, (), generator=generator, device=device)
        own = torch.Generator(device).manual_seed(int(seed))
        self.world = WorldModelLearner(config.world, observation_dim, action_dim, generator=own)
        self._read: tuple[int, SegmentIndex, Tensor] | None = None

    def importance(
        self, index: SegmentIndex, replay: ReplayBuffer
    ) -> Float[Tensor, "segment time"]:
        """Return alpha of each segment, padded with 0 to the longest.

        The same segments are read again only after the world model has learned.

        Args:
            index: `[segment]`.
            replay: where they lie.
        """
        version = self.world.num_updates
        if self._read is None or self._read[0] != version or not _equal(self._read[1], index):
            shares = torch.zeros(len(index), int(index.length.max()), device=replay.device)
            for rows in torch.arange(len(index), device=replay.device).split(SEGMENTS_AT_ONCE):
                part = self.importance_of(replay.gather(index[rows]))
                shares[rows, : part.shape[1]] = part
            self._read = (version, index, shares)
        return self._read[2]

    def importance_of(self, segments: Segments) -> Float[Tensor, "segment time"]:
        """Return alpha of gathered segments `[segment, time, ...]`, 0 on padding."""
        attention = self.world.model.last_attention(segments)
        return state_importance(attention, layers=self.config.layers, heads=self.config.heads)

    def distance(
        self,
        rewards: Float[Tensor, "*shape time"],
        importance: Float[Tensor, "*shape time"],
        lengths: Int[Tensor, "*shape"],
    ) -> Float[Tensor, "*shape"]:
        """Return the `redistribution_loss` of segments with so many steps."""
        mask = torch.arange(rewards.shape[-1], device=rewards.device) < lengths[..., None]
        return redistribution_loss(rewards, importance, mask, detach=self.config.detach)

    def state_dict(self) -> dict[str, Any]:
        """Return the world model and what trains it."""
        return self.world.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.world.load_state_dict(state)
        self._read = None


def _equal(one: SegmentIndex, other: SegmentIndex) -> bool:
    names = ("episode", "start", "length")
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in names)
