"""Learning from labels of which an unknown share is flipped, by expectation-maximisation."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pbrl.feedback import TIE
from pbrl.preference import Loss


@dataclass(frozen=True, kw_only=True)
class LabelNoiseConfig:
    """How the share of right labels is estimated while something learns from them.

    LCPO, Cao et al. 2025 (arXiv 2509.24159). The paper's own numbers could not be checked; these
    are ours.

    Attributes:
        reliability: eta at the start, P(a label is right), in (0.5, 1). From below one half the
            estimate converges to inverted labels.
        rate: how far each gradient step moves eta towards the batch's estimate, in (0, 1].
        warmup_updates: gradient steps with the plain loss, before the scores mean anything.
        num_annotators: each has an eta of its own; 1 for one eta for all.
    """

    reliability: float = 0.9
    rate: float = 0.01
    warmup_updates: int = 1000
    num_annotators: int = 1

    def __post_init__(self) -> None:
        if not TIE < self.reliability < 1:
            raise ValueError(f"reliability must lie in (0.5, 1), got {self.reliability}")
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate must lie in (0, 1], got {self.rate}")
        if self.warmup_updates < 0 or self.num_annotators < 1:
            raise ValueError(
                "warmup_updates must not be negative and num_annotators be at least 1, got "
                f"{self.warmup_updates} and {self.num_annotators}"
            )


class LabelNoise(nn.Module):
    """A pair loss that weighs every label by how likely it is to be right.

    Call it in place of the loss, as often as a gradient step needs, and `step` once afterwards.

    Args:
        config: of the estimate.
        loss: of a pair.
        device: where the labels live.
    """

    def __init__(
        self, config: LabelNoiseConfig, loss: Loss, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__()
        self.config = config
        self.loss = loss
        size = (config.num_annotators,)
        self.register_buffer("reliability", torch.full(size, config.reliability, device=device))
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64, device=device))
        self.register_buffer("_sum", torch.zeros(size, device=device))
        self.register_buffer("_count", torch.zeros(size, device=device))

    reliability: Tensor
    num_updates: Tensor
    _sum: Tensor
    _count: Tensor

    def forward(
        self,
        score_0: Float[Tensor, "*shape"],
        score_1: Float[Tensor, "*shape"],
        label: Float[Tensor, "*#shape"],
        annotators: Int[Tensor, "*#shape"] | None = None,
    ) -> Float[Tensor, "*shape"]:
        """Return w L(y) + (1 - w) L(1 - y) with w = P(the label is right), without gradient.

        During the warm-up the plain loss. With gradients off nothing is counted.

        Args:
            score_0: of the first segments.
            score_1: of the second.
            label: P(segment 1 preferred). Ties have no other way round and are not counted.
            annotators: who gave each label, below `num_annotators`; the first when None.
        """
        if annotators is None:
            annotators = torch.zeros_like(label, dtype=torch.int64)
        given = self.loss(score_0, score_1, label)
        flipped = self.loss(score_0, score_1, 1 - label)
        right = posterior(given.detach(), flipped.detach(), self.reliability[annotators])
        if torch.is_grad_enabled():
            counts = ((label != TIE) * torch.ones_like(right)).flatten()
            who = annotators.expand_as(right).flatten()
            self._sum.index_add_(0, who, counts * right.flatten())
            self._count.index_add_(0, who, counts)
        is_warm = self.num_updates >= self.config.warmup_updates
        # A weight of 1 gives the plain loss bit for bit.
        return torch.lerp(flipped, given, torch.where(is_warm, right, 1.0))

    @torch.no_grad()
    def step(self) -> None:
        """Move each eta towards the mean weight of the labels seen since the last step."""
        is_warm = self.num_updates >= self.config.warmup_updates
        estimate = self._sum / self._count.clamp(min=1)
        rate = self.config.rate * is_warm * (self._count > 0)
        self.reliability.lerp_(estimate, rate)
        self._sum.zero_()
        self._count.zero_()
        self.num_updates += 1


def posterior(
    given: Float[Tensor, "*shape"],
    flipped: Float[Tensor, "*shape"],
    reliability: Float[Tensor, "*#shape"],
) -> Float[Tensor, "*shape"]:
    """Return P(a label is right | scores) = eta p / (eta p + (1 - eta) (1 - p)).

    p = sigmoid(flipped - given) compares the two labels through their losses; under the logistic
    loss that is sigmoid(margin in favour of the label).

    Args:
        given: loss of each label as given.
        flipped: loss of its opposite.
        reliability: eta, P(a label is right).
    """
    return torch.sigmoid(flipped - given + reliability.logit())
