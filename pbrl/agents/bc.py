"""Behaviour cloning: of a dataset, of labelled segments, or of the preferred ones (SFT)."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.agents.policies import PolicyConfig, make_policy
from pbrl.agents.protocol import FirstPhase
from pbrl.agents.state import Parts, PolicyAgent, descend
from pbrl.checks import check_fields
from pbrl.encoders import shift_batch, shift_segments
from pbrl.pairs import OfflineBatch, OfflineBatchSizes, PairBatch


@dataclass(frozen=True, kw_only=True)
class BCConfig:
    """What is cloned, and with what; the defaults are those of CPL's Meta-World experiments.

    Attributes:
        policy: its network.
        data: "transitions" of the dataset, or both "segments" of labelled pairs.
        preferred_after: with segments, updates after which only the preferred one of each pair is
            cloned, of a tie both: supervised fine-tuning (SFT). None never does. CPL: 200,000 of
            500,000.
        learning_rate: of Adam, above 0. CPL: 1e-4.
        batch_size: transitions, or pairs, per update. CPL: 96 pairs of 64 steps.
        segment_steps: length of the window cut from each segment; None takes them whole.
    """

    policy: PolicyConfig = field(
        default_factory=lambda: PolicyConfig(
            kind="fixed-variance", hidden_sizes=(512, 512), dropout=0.25
        )
    )
    data: Literal["transitions", "segments"] = "transitions"
    preferred_after: int | None = None
    learning_rate: float = 1e-4
    batch_size: int = 256
    segment_steps: int | None = None

    def __post_init__(self) -> None:
        after = self.preferred_after
        check_fields(
            self,
            ("data", "transitions or segments", self.data in ("transitions", "segments")),
            (
                "preferred_after",
                "None, or 0 or above and with segments alone",
                after is None or (after >= 0 and self.data == "segments"),
            ),
            ("learning_rate", "above 0", self.learning_rate > 0),
            ("batch_size", "at least 1", self.batch_size >= 1),
        )
        self.batch_sizes()

    @property
    def first_phase(self) -> FirstPhase | None:
        """Cloning both segments of a pair."""
        what = "clones both segments of a pair alike and learns nothing from its label"
        updates = self.preferred_after
        return FirstPhase("preferred_after", updates, what) if updates else None

    def batch_sizes(self) -> OfflineBatchSizes:
        """Return what one update draws."""
        if self.data == "transitions":
            return OfflineBatchSizes(transitions=self.batch_size)
        return OfflineBatchSizes(pairs=self.batch_size, segment_steps=self.segment_steps)


class BC(PolicyAgent[BCConfig]):
    """A policy that imitates.

    Args:
        config: what is cloned, and with what.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters, dropout and noise; on `device`. Whoever owns it saves
            its state.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    takes_seeds = True
    is_recordable = True

    def __init__(
        self,
        config: BCConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, device=device, generator=generator)
        self.policy = make_policy(config.policy, observation_dim, action_dim, generator)
        self.optimizer = torch.optim.Adam(
            self.policy.parameters(), lr=config.learning_rate, fused=True
        )

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws."""
        return self.config.batch_sizes()

    def update(self, batch: OfflineBatch) -> dict[str, Tensor]:
        """Take one step of Adam on minus the mean log density; return metrics.

        Raises:
            ValueError: if the batch lacks what `batch_sizes` asks for.
        """
        given = batch.transitions if self.config.data == "transitions" else batch.pairs
        if given is None:
            raise ValueError(f"the batch must hold what {self.batch_sizes} asks for")
        self.policy.train()
        if isinstance(given, PairBatch):
            segments = shift_segments(given.segments, self.config.policy.encoder, self.generator)
            log_prob = self.policy.log_prob(segments.observations, segments.actions)
            loss = cloning_loss(log_prob, self._cloned(given))
        else:
            given = shift_batch(given, self.config.policy.encoder, self.generator)
            loss = -self.policy.log_prob(given.observations, given.actions).mean(-1)
        descend(self.optimizer, loss)
        self.num_updates += 1
        return {"cloning_loss": loss.detach()}

    @property
    def update_kind(self) -> Hashable:
        """Whether the next update clones the preferred segments alone."""
        after = self.config.preferred_after
        return after is not None and self.num_updates >= after

    def _cloned(self, pairs: PairBatch) -> Bool[Tensor, "*seed query two time"]:
        """Return which steps count in this update."""
        after = self.config.preferred_after
        if after is None or self.num_updates < after:
            return pairs.segments.mask
        return pairs.segments.mask & pairs.is_preferred()[..., None]

    def _parts(self) -> Parts:
        return {"policy": self.policy, "optimizer": self.optimizer}


def cloning_loss(
    log_prob: Float[Tensor, "*seed query item time"], cloned: Bool[Tensor, "*seed query item time"]
) -> Float[Tensor, "*seed"]:
    """Return minus the mean log density of the steps that are cloned."""
    return -torch.where(cloned, log_prob, 0.0).sum((-3, -2, -1)) / cloned.sum((-3, -2, -1))
