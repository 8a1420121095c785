"""Contrastive Preference Learning (Hejna et al. 2024, arXiv 2310.13639) and its relatives.

A policy is learned straight from preferences: a score of its log densities over each segment takes
the place of a sum of rewards. Score and loss combine freely, so that DPO, IPO, the hinge and robust
losses on segments, and DPPO are settings of the same agent.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor

from pbrl.agents.bc import cloning_loss
from pbrl.agents.policies import Policy, PolicyConfig, make_policy
from pbrl.agents.policy_scores import PolicyScoreConfig, segment_score, step_values
from pbrl.agents.protocol import FirstPhase
from pbrl.agents.state import Parts, PolicyAgent, descend
from pbrl.checks import check_fields
from pbrl.encoders import shift_segments
from pbrl.label_noise import LabelNoise, LabelNoiseConfig
from pbrl.pairs import ListBatch, OfflineBatch, OfflineBatchSizes, PairBatch
from pbrl.preference import LossConfig, make_loss, preference_metrics
from pbrl.rankings import ListCompat, ListLossName, list_loss


@dataclass(frozen=True, kw_only=True)
class CPLConfig:
    """Score, loss and schedule; the defaults are CPL's on Meta-World states (tables 5 and 6).

    Attributes:
        policy: its network.
        score: what a segment is worth under the policy.
        loss: of the two scores of a pair. "biased" with a bias of 0.5 is CPL; with 1 and a
            `cloning_weight` of 1, CPL (BC); with 0.75 and the log-ratio times 0.2, CPL (KL).
        lists: learn from graded lists instead of pairs: "all-pairs" of them by `loss` (one list of
            64 is CPL on dense data), "plackett-luce" or "lipo".
        compat: "nonzero-mean" is the denominator of the official code on dense data; see
            `all_pairs_loss`.
        cloning_weight: beta, weight of cloning beside the preferences, 0 or above.
        cloning_data: clone both segments of a pair, or the "preferred" one, of a tie both.
        pretraining_updates: updates of cloning alone at the start. After them the optimiser is made
            anew and the learning rate warms up; without any there is no warm-up, as in their code.
        learning_rate: of Adam, above 0.
        warmup_updates: updates over which the rate rises linearly after pre-training.
        warmup_scale: what the learning rate is multiplied by from then on; 0.1 in CPL (KL).
        label_noise: weigh labels by how likely they are right; None trusts them.
        batch_size: pairs, or lists, per update.
        items: segments of each list.
        segment_steps: length of the window cut from each segment; None takes them whole.
    """

    policy: PolicyConfig = field(
        default_factory=lambda: PolicyConfig(
            kind="fixed-variance", hidden_sizes=(512, 512), dropout=0.25
        )
    )
    score: PolicyScoreConfig = field(default_factory=PolicyScoreConfig)
    loss: LossConfig = field(default_factory=lambda: LossConfig(name="biased", bias=0.5))
    lists: ListLossName | None = None
    compat: ListCompat | None = None
    cloning_weight: float = 0.0
    cloning_data: Literal["all", "preferred"] = "all"
    pretraining_updates: int = 200_000
    learning_rate: float = 1e-4
    warmup_updates: int = 10_000
    warmup_scale: float = 1.0
    label_noise: LabelNoiseConfig | None = None
    batch_size: int = 96
    items: int = 64
    segment_steps: int | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("cloning_weight", "0 or above", self.cloning_weight >= 0),
            ("cloning_data", "all or preferred", self.cloning_data in ("all", "preferred")),
            ("learning_rate", "above 0", self.learning_rate > 0),
            ("warmup_updates", "0 or above", self.warmup_updates >= 0),
            ("warmup_scale", "above 0", self.warmup_scale > 0),
            (
                "pretraining_updates",
                "0 or above, and above 0 for a log-ratio: its reference is the cloned policy",
                self.pretraining_updates >= (self.score.name == "log-ratio"),
            ),
            (
                "lists",
                'None while cloning_data is "preferred" or label_noise is given: both need pairs',
                self.lists is None or (self.cloning_data == "all" and self.label_noise is None),
            ),
            (
                "compat",
                "None unless lists is all-pairs",
                self.compat is None or self.lists == "all-pairs",
            ),
        )
        self.batch_sizes()

    @property
    def first_phase(self) -> FirstPhase | None:
        """Cloning."""
        what = "clones all labelled segments alike and learns nothing from their labels"
        updates = self.pretraining_updates
        return FirstPhase("pretraining_updates", updates, what) if updates else None

    def batch_sizes(self) -> OfflineBatchSizes:
        """Return what one update draws."""
        if self.lists is None:
            return OfflineBatchSizes(pairs=self.batch_size, segment_steps=self.segment_steps)
        return OfflineBatchSizes(
            lists=self.batch_size, items=self.items, segment_steps=self.segment_steps
        )


class CPL(PolicyAgent[CPLConfig]):
    """A policy learned from preferences between segments, without a reward or a value.

    Args:
        config: score, loss and schedule.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters and dropout; on `device`. Whoever owns it saves its
            state.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    takes_seeds = True
    is_recordable = True

    def __init__(
        self,
        config: CPLConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, device=device, generator=generator)
        self.policy = make_policy(config.policy, observation_dim, action_dim, generator)
        self.reference: Policy | None = None
        if config.score.name == "log-ratio":
            unused = torch.Generator(self.device)  # the reference is the cloned policy
            self.reference = make_policy(config.policy, observation_dim, action_dim, unused)
            self.reference.requires_grad_(requires_grad=False).eval()
        loss = make_loss(config.loss)
        self.label_noise: LabelNoise | None = None
        if config.label_noise is not None:
            self.label_noise = LabelNoise(config.label_noise, loss, self.device)
        self._loss = self.label_noise or loss
        self.optimizer = self._new_optimizer()

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws."""
        return self.config.batch_sizes()

    @property
    def is_pretraining(self) -> bool:
        """Whether the next update only clones."""
        return self.num_updates < self.config.pretraining_updates

    def log_prob(
        self, observations: Real[Tensor, "*batch obs"], actions: Float[Tensor, "*batch act"]
    ) -> Float[Tensor, "*batch"]:
        """Return the log density of actions, without dropout and differentiable."""
        self.policy.eval()
        return self.policy.log_prob(observations, actions)

    def update(self, batch: OfflineBatch) -> dict[str, Tensor]:
        """Take one step of Adam, of cloning at first and then on preferences; return metrics.

        Raises:
            ValueError: if the batch lacks what `batch_sizes` asks for.
        """
        given = batch.pairs if self.config.lists is None else batch.lists
        if given is None:
            raise ValueError(f"the batch must hold what {self.batch_sizes} asks for")
        moved = shift_segments(given.segments, self.config.policy.encoder, self.generator)
        given = replace(given, segments=moved)
        self.policy.train()
        if not self.is_recorded:
            self.prepare_update()
        loss, metrics = self._clone(given) if self.is_pretraining else self._prefer(given)
        descend(self.optimizer, loss)
        self.num_updates += 1
        if self.num_updates == self.config.pretraining_updates:
            self._end_pretraining()
        return metrics

    @property
    def update_kind(self) -> Hashable | None:
        """Whether the next update clones; None for the last of those, which changes the make."""
        is_last = self.num_updates + 1 == self.config.pretraining_updates
        return None if is_last else ("cloning" if self.is_pretraining else "preferences")

    def prepare_update(self) -> None:
        """Set the rate."""
        self._set_rate(self.optimizer, self.learning_rate())

    def learning_rate(self) -> float:
        """Return the rate of the next update."""
        config = self.config
        if self.is_pretraining or config.pretraining_updates == 0:
            return config.learning_rate
        since_switch = self.num_updates - config.pretraining_updates + 1
        rise = min(1.0, since_switch / max(1, config.warmup_updates))
        return config.learning_rate * config.warmup_scale * rise

    def _end_pretraining(self) -> None:
        self.optimizer = self._new_optimizer()
        if self.reference is not None:
            self.reference.load_state_dict(self.policy.state_dict())

    def _new_optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.policy.parameters(), lr=self.config.learning_rate, fused=True)

    def _clone(self, given: PairBatch | ListBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return minus the mean log density of the steps."""
        segments = given.segments
        log_prob = self.policy.log_prob(segments.observations, segments.actions)
        loss = cloning_loss(log_prob, self._cloned(given))
        return loss, {"cloning_loss": loss.detach()}

    def _prefer(self, given: PairBatch | ListBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of the preferences plus, weighted, that of cloning."""
        config, segments = self.config, given.segments
        steps = (segments.observations, segments.actions)
        values = step_values(config.score.name, self.policy, self.reference, *steps)
        scores = segment_score(config.score, values, segments.mask)
        if isinstance(given, PairBatch):
            loss, metrics = self._loss_of_pairs(scores, given)
        else:
            loss, metrics = self._loss_of_lists(scores, given)
        if config.cloning_weight > 0:
            is_density = config.score.name == "likelihood"
            log_prob = values if is_density else self.policy.log_prob(*steps)
            by_cloning = cloning_loss(log_prob, self._cloned(given))
            metrics["cloning_loss"] = by_cloning.detach()
            loss = loss + config.cloning_weight * by_cloning
        return loss, metrics

    def _loss_of_pairs(
        self, scores: Float[Tensor, "*seed query two"], pairs: PairBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        score_0, score_1 = scores.unbind(-1)
        terms = self._loss(score_0, score_1, pairs.labels)
        if self.label_noise is not None:
            self.label_noise.step()
        loss = (terms * pairs.weights).sum(-1) / pairs.weights.sum(-1)
        metrics = preference_metrics(score_0.detach(), score_1.detach(), pairs.labels)
        return loss, metrics | {"preference_loss": loss.detach()}

    def _loss_of_lists(
        self, scores: Float[Tensor, "*seed list item"], lists: ListBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        name, loss, compat = self.config.lists, self._loss, self.config.compat
        assert name is not None  # `update` chose
        terms = list_loss(name, scores, lists.grades, loss, compat=compat)
        return terms.mean(-1), {"preference_loss": terms.detach().mean(-1)}

    def _cloned(self, given: PairBatch | ListBatch) -> Bool[Tensor, "*seed query item time"]:
        """Return which steps are cloned."""
        if isinstance(given, PairBatch) and self.config.cloning_data == "preferred":
            return given.segments.mask & given.is_preferred()[..., None]
        return given.segments.mask

    def _parts(self) -> Parts:
        return {
            "policy": self.policy,
            "reference": self.reference,
            "label_noise": self.label_noise,
            "optimizer": self.optimizer,
        }
