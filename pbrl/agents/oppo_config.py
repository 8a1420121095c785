"""The configuration of OPPO (Kang et al. 2023, arXiv 2305.16217)."""

from dataclasses import dataclass, field
from typing import Literal

from pbrl.agents.learning_rates import RateSchedule
from pbrl.agents.oppo_encoder import Pooling
from pbrl.agents.oppo_losses import NormTerm
from pbrl.agents.sequence_policy import SequencePolicyConfig
from pbrl.checks import check_fields
from pbrl.pairs import OfflineBatchSizes
from pbrl.transformer import TransformerConfig
from pbrl.windows import WindowSizes

Decoding = Literal["raw", "unit", "nearest"]


@dataclass(frozen=True, kw_only=True)
class OPPOConfig:
    """Networks, weights and schedule; the defaults are the program for scripted labels.

    That program labels every window it draws, and learns from labelled windows alone. Here the
    labels are a fixed set by default, and windows of the dataset are learned from beside them; for
    the original, `windows` 0 and `reconstruct_pairs` with labels of
    `pbrl.offline.foresight.ForesightPreferences`. The program for people's labels: contexts of 100,
    2 heads in the policy, `context_dim` 16, `timed_condition` off, `schedule` "alternate",
    `context_rate` 1e-2, `initial_std` 1, `preference_weight` 10, `norm_term` "hinge",
    `pair_imitation_weight` 2, `norm_weight` 0.2, `gradient_clip` 0.25, `observation_weight` 1,
    `observation_noise` 0.1, and windows whose episode is drawn first.

    All losses here are means. Both programs add up the imitation and the norm terms of the two
    segments of a pair, and take one mean of the preference loss. The scripted one's whole loss is
    thus twice ours if our `preference_weight` is half of its alpha, and its gradients are cut where
    ours are if our `gradient_clip` is half of its own; Adam does not see a factor of the whole. In
    the program for people's labels Adam also sees a step on windows, which is no sum of two, so
    that there the terms of pairs count double instead.

    Attributes:
        policy: the transformer that acts; its context is K.
        encoder: the transformer that makes codes.
        pooling: see `HindsightEncoder`; "sum-all" in both programs.
        context_dim: size of a code.
        schedule: "joint" takes one step on all losses together; "alternate" lets policy and encoder
            learn from windows in every second update, and in every update the encoder alone from
            pairs, through a frozen policy.
        num_pairs: labelled pairs per update, at least 1.
        windows: windows of the dataset per update, 0 or above.
        window_draw: see `WindowSizes`.
        reconstruct_pairs: in a joint update, repeat the actions of labelled segments too.
        segment_steps: length of the window cut from each labelled segment, of which the rest, that
            the label is about too, stays unseen; None takes them whole.
        pair_imitation_weight: of the imitation of pairs in an alternate update, 0 or above.
        preference_weight: alpha, of the triplet loss beside the imitation, 0 or above.
        norm_weight: beta, of the constraint on the norm of codes, 0 or above.
        norm_term: see `norm_loss`.
        margin: of the triplet loss.
        released_ties: count ties as the program for people's labels does, see
            `released_preference_loss`.
        observation_weight: of the error of each step's own observation, told from its action.
        observation_noise: standard deviation of noise on what the policy sees of windows.
        policy_rate, encoder_rate: of AdamW. Both programs warm up the policy alone.
        context_rate: of AdamW on the optimal context, above 0.
        weight_decay: of all three, 0 or above.
        gradient_clip: largest norm of the gradients of policy and encoder, each alone.
        initial_std: of the optimal context.
        decoding: the context that is acted by: "raw", the optimal one as it is, which may be far
            from every code; "unit", brought to norm 1; "nearest", the mean of the `num_nearest`
            codes nearest to it among those of the last `num_recent` windows. Both programs act by
            the raw one.
        num_nearest: see there.
        num_recent: see there.
        acting: "repeat" gives the context at every step that is looked back over, as in training;
            "last" only at the newest one and zeros before, as both programs do.
        cached: keep keys and values when acting by "repeat"; see `ActingHistory`.
    """

    policy: SequencePolicyConfig = field(default_factory=SequencePolicyConfig)
    encoder: TransformerConfig = field(
        default_factory=lambda: TransformerConfig(kind="bidirectional", num_heads=2)
    )
    pooling: Pooling = "mean"
    context_dim: int = 8
    schedule: Literal["joint", "alternate"] = "joint"
    num_pairs: int = 64
    windows: int = 128
    window_draw: Literal["steps", "episodes"] = "steps"
    reconstruct_pairs: bool = False
    segment_steps: int | None = None
    pair_imitation_weight: float = 1.0
    preference_weight: float = 0.05
    norm_weight: float = 0.1
    norm_term: NormTerm = "squared"
    margin: float = 1.0
    released_ties: bool = False
    observation_weight: float = 0.0
    observation_noise: float = 0.0
    policy_rate: RateSchedule = field(
        default_factory=lambda: RateSchedule(peak=1e-4, warmup=10_000)
    )
    encoder_rate: RateSchedule = field(default_factory=lambda: RateSchedule(peak=1e-4))
    context_rate: float = 1e-3
    weight_decay: float = 1e-4
    gradient_clip: float = 0.125
    initial_std: float = 2.0
    decoding: Decoding = "nearest"
    num_nearest: int = 20
    num_recent: int = 1024
    acting: Literal["repeat", "last"] = "repeat"
    cached: bool = True

    def __post_init__(self) -> None:
        learns_actions = self.windows > 0 or (self.reconstruct_pairs and self.schedule == "joint")
        check_fields(
            self,
            ("encoder", "bidirectional", self.encoder.kind == "bidirectional"),
            ("context_dim", "at least 1", self.context_dim >= 1),
            ("num_pairs", "at least 1", self.num_pairs >= 1),
            (
                "windows",
                "0 or above, and above 0 unless a joint update reconstructs pairs",
                self.windows >= 0 and learns_actions,
            ),
            ("pair_imitation_weight", "0 or above", self.pair_imitation_weight >= 0),
            ("preference_weight", "0 or above", self.preference_weight >= 0),
            ("norm_weight", "0 or above", self.norm_weight >= 0),
            ("margin", "0 or above", self.margin >= 0),
            (
                "observation_weight",
                "0 or above, and above 0 with policy.predict_observations alone",
                self.observation_weight >= 0
                and (self.observation_weight > 0) == self.policy.predict_observations,
            ),
            ("observation_noise", "0 or above", self.observation_noise >= 0),
            ("context_rate", "above 0", self.context_rate > 0),
            ("weight_decay", "0 or above", self.weight_decay >= 0),
            ("gradient_clip", "above 0", self.gradient_clip > 0),
            ("num_nearest", "at least 1", self.num_nearest >= 1),
            ("num_recent", "at least num_nearest", self.num_recent >= self.num_nearest),
        )
        self.batch_sizes(0)

    def batch_sizes(self, num_updates: int) -> OfflineBatchSizes:
        """Return what the update after so many draws."""
        windows = None
        if self.windows > 0 and (self.schedule == "joint" or num_updates % 2 == 0):
            windows = WindowSizes(
                number=self.windows,
                steps=self.policy.context,
                draw=self.window_draw,
                num_timesteps=self.policy.num_timesteps,
            )
        return OfflineBatchSizes(
            pairs=self.num_pairs,
            segment_steps=self.segment_steps,
            num_timesteps=self.policy.num_timesteps,
            windows=windows,
        )
