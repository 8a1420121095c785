"""DPPO: Direct Preference-based Policy Optimization (An et al. 2023, arXiv 2301.12842).

A predictor of preferences is fitted to the labels first; then a policy learns from windows of the
dataset, in the order in which the predictor puts them, to be nearer to the better ones.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.agents.learning_rates import RateSchedule
from pbrl.agents.policies import PolicyConfig, evaluating, make_policy
from pbrl.agents.policy_scores import half_distance
from pbrl.agents.protocol import FirstPhase
from pbrl.agents.state import Parts, PolicyAgent
from pbrl.checks import check_fields
from pbrl.pairs import OfflineBatch, OfflineBatchSizes, PairBatch
from pbrl.preference import biased_loss, logistic_loss, mean_score, preference_metrics
from pbrl.preference_transformer import PreferenceTransformer, PreferenceTransformerConfig
from pbrl.rankings import all_pairs_loss
from pbrl.segments import Segments
from pbrl.windows import WindowBatch, WindowSizes

PAIR = 2


def _mean_of_rewards() -> PreferenceTransformerConfig:
    return PreferenceTransformerConfig(attention=False)


@dataclass(frozen=True, kw_only=True)
class DPPOConfig:
    """Predictor, policy and their schedule; the numbers are those of the released code.

    Its predictor is another one in two respects: it reads a segment in both directions, and a
    hidden layer stands before what it gives a step. Ours is Preference Transformer's.

    Attributes:
        predictor: a transformer whose score of a segment is the mean of what it gives the steps.
            It sees observations as the policy does, without moments of its own.
        predictor_updates: updates of the predictor, before the policy's; 10,000 passes over 500
            labels in batches of 256 are 20,000.
        predictor_rate: of its AdamW.
        num_pairs: labelled pairs of one of its updates.
        smoothness: nu, weight of the squared difference of the scores of two neighbouring windows
            of one episode, 0 or above; 0 in the released code.
        shift_std: m, standard deviation in steps of the distance between such neighbours, rounded;
            0 in the released code.
        policy: its network; the mean alone is learned.
        learning_rate: of its Adam, above 0.
        num_windows: windows of one of its updates, of which all pairs are compared, at least 2.
        segment_steps: of a window, at least 1.
        temperature: T, above 0.
        bias: lambda in [0, 1]: how much being far from the worse window counts. 1 in the released
            code; the paper is cited with 0.5 on locomotion and 0.1 on Adroit and Kitchen.
    """

    predictor: PreferenceTransformerConfig = field(default_factory=_mean_of_rewards)
    predictor_updates: int = 20_000
    predictor_rate: RateSchedule = field(
        default_factory=lambda: RateSchedule(
            peak=1e-3, warmup=2_000, decay=20_000, start=0.1, end=0.1
        )
    )
    num_pairs: int = 256
    smoothness: float = 0.0
    shift_std: float = 0.0
    policy: PolicyConfig = field(
        default_factory=lambda: PolicyConfig(kind="fixed-variance", hidden_sizes=(256, 256))
    )
    learning_rate: float = 3e-4
    num_windows: int = 256
    segment_steps: int = 100
    temperature: float = 0.1
    bias: float = 1.0

    def __post_init__(self) -> None:
        places = self.predictor.num_timesteps
        check_fields(
            self,
            (
                "predictor",
                "without normalize_observations: nothing here finds the moments",
                not self.predictor.normalize_observations,
            ),
            ("predictor_updates", "at least 1", self.predictor_updates >= 1),
            ("num_pairs", "at least 1", self.num_pairs >= 1),
            ("smoothness", "0 or above", self.smoothness >= 0),
            (
                "shift_std",
                "0 or above, and above 0 with smoothness alone",
                self.shift_std >= 0 and (self.shift_std > 0) == (self.smoothness > 0),
            ),
            ("learning_rate", "above 0", self.learning_rate > 0),
            ("num_windows", "at least 2: a pair", self.num_windows >= PAIR),
            (
                "segment_steps",
                f"between 1 and the {places} places of the predictor (predictor.num_timesteps)",
                1 <= self.segment_steps <= places,
            ),
            ("temperature", "above 0", self.temperature > 0),
            ("bias", "in [0, 1]", 0 <= self.bias <= 1),
        )

    @property
    def first_phase(self) -> FirstPhase:
        """The predictor's."""
        what = "fits its predictor to the labels and leaves its policy as it was drawn"
        return FirstPhase("predictor_updates", self.predictor_updates, what)

    @property
    def most_shift(self) -> int:
        """Steps that neighbouring windows are apart at most, three standard deviations."""
        return round(3 * self.shift_std)

    def batch_sizes(self, num_updates: int) -> OfflineBatchSizes:
        """Return what the update after so many draws."""
        if num_updates >= self.predictor_updates:
            windows = WindowSizes(
                number=self.num_windows, steps=self.segment_steps, padding="right", anchor="last"
            )
            return OfflineBatchSizes(windows=windows)
        neighbours = None
        if self.smoothness > 0:
            neighbours = WindowSizes(
                number=self.num_pairs, steps=self.segment_steps + self.most_shift, padding="right"
            )
        return OfflineBatchSizes(
            pairs=self.num_pairs,
            num_timesteps=self.predictor.num_timesteps,
            places_of="segment",
            windows=neighbours,
        )


def contrastive_loss(
    distance: Float[Tensor, " window"],
    predicted: Float[Tensor, " window"],
    temperature: float,
    bias: float,
) -> Float[Tensor, ""]:
    """Return the mean over all pairs of -log e^(-d_i/T) / (e^(-d_i/T) + e^(-lambda d_j/T)).

    Window i of each pair is the one with the higher predicted score. Equal ones are a tie.

    Args:
        distance: d, of the policy from each window.
        predicted: score of each window.
        temperature: T.
        bias: lambda.
    """
    return all_pairs_loss(-distance / temperature, predicted, partial(biased_loss, bias=bias))


class DPPO(PolicyAgent[DPPOConfig]):
    """A policy that is near to what a predictor of preferences puts first.

    Args:
        config: predictor, policy and schedule.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters, dropout and shifts; on `device`. Whoever owns it saves
            its state.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    is_recordable = True

    def __init__(
        self,
        config: DPPOConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, device=device, generator=generator)
        dims = (observation_dim, action_dim)
        self.predictor = PreferenceTransformer(config.predictor, *dims, generator=generator)
        self.policy = make_policy(config.policy, *dims, generator)
        self.predictor_optimizer = torch.optim.AdamW(
            self.predictor.parameters(),
            lr=config.predictor_rate.peak,
            weight_decay=config.predictor.weight_decay,
            fused=True,
        )
        self.optimizer = torch.optim.Adam(
            self.policy.parameters(), lr=config.learning_rate, fused=True
        )

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws."""
        return self.config.batch_sizes(self.num_updates)

    @property
    def phase_sizes(self) -> tuple[OfflineBatchSizes, ...]:
        """What an update draws of the predictor, and of the policy."""
        return tuple(self.config.batch_sizes(n) for n in (0, self.config.predictor_updates))

    @torch.no_grad()
    def segment_scores(self, segments: Segments) -> Float[Tensor, "*shape"]:
        """Return the predictor's scores."""
        with evaluating(self.predictor):
            return self.predictor.scores(segments)

    def update(self, batch: OfflineBatch) -> dict[str, Tensor]:
        """Update the predictor while its updates last, then the policy; return metrics.

        Raises:
            ValueError: if the batch lacks what `batch_sizes` asks for.
        """
        sizes = self.batch_sizes
        lacks_pairs = sizes.pairs > 0 and batch.pairs is None
        if lacks_pairs or (sizes.windows is not None and batch.windows is None):
            raise ValueError(f"the batch must hold what {sizes} asks for")
        if not self.is_recorded:
            self.prepare_update()
        if self.is_predicting:
            assert batch.pairs is not None  # checked
            metrics = self._update_predictor(batch.pairs, batch.windows)
        else:
            assert batch.windows is not None  # checked
            metrics = self._update_policy(batch.windows)
        self.num_updates += 1
        return metrics

    @property
    def is_predicting(self) -> bool:
        """Whether the next update is the predictor's."""
        return self.num_updates < self.config.predictor_updates

    @property
    def update_kind(self) -> bool:
        """Whose update is next."""
        return self.is_predicting

    def prepare_update(self) -> None:
        """Set the rate of the predictor, while it learns."""
        if self.is_predicting:
            self._set_rate(
                self.predictor_optimizer, self.config.predictor_rate.at(self.num_updates)
            )

    def _update_predictor(self, pairs: PairBatch, windows: WindowBatch | None) -> dict[str, Tensor]:
        config = self.config
        self.predictor.train()
        score_0, score_1 = self.predictor.scores(pairs.segments).unbind(1)
        terms = logistic_loss(score_1 - score_0, pairs.labels) * pairs.weights
        loss = terms.sum() / pairs.weights.sum()
        metrics = preference_metrics(score_0.detach(), score_1.detach(), pairs.labels)
        metrics["preference_loss"] = loss.detach()
        if config.smoothness > 0:
            assert windows is not None  # checked
            near_0, near_1 = self.predictor.scores(self._neighbours(windows)).unbind(1)
            roughness = (near_0 - near_1).square().mean()
            metrics["roughness"] = roughness.detach()
            loss = loss + config.smoothness * roughness
        self.predictor_optimizer.zero_grad()
        loss.backward()
        self.predictor_optimizer.step()
        return metrics

    def _neighbours(self, windows: WindowBatch) -> Segments:
        """Return two segments of each longer window, `[window, 2]`: its first steps, and others.

        They are apart as far as is drawn, or as the steps of the window allow.
        """
        steps, length = self.config.segment_steps, windows.mask.sum(1)
        shift = torch.empty(len(windows), device=length.device)
        shift.normal_(std=self.config.shift_std, generator=self.generator)
        shift = shift.round().abs().long().clamp(max=self.config.most_shift)
        shift = torch.minimum(shift, (length - steps).clamp(min=0))
        start = torch.stack([torch.zeros_like(shift), shift], 1)
        places = start[..., None] + torch.arange(steps, device=length.device)  # [window, 2, time]
        rows = torch.arange(len(windows), device=length.device)[:, None, None]
        mask = windows.mask[rows, places]
        return Segments(
            windows.observations[rows, places],
            windows.actions[rows, places],
            mask,
            torch.zeros_like(mask, dtype=torch.float32),
        )

    def _update_policy(self, windows: WindowBatch) -> dict[str, Tensor]:
        config = self.config
        self.policy.train()
        predicted = self.segment_scores(
            Segments(windows.observations, windows.actions, windows.mask, windows.rewards)
        )
        apart = half_distance(self.policy.mean(windows.observations), windows.actions)
        distance = mean_score(apart, windows.mask)
        loss = contrastive_loss(distance, predicted, config.temperature, config.bias)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"contrastive_loss": loss.detach(), "distance": distance.detach().mean()}

    def _parts(self) -> Parts:
        return {
            "predictor": self.predictor,
            "policy": self.policy,
            "predictor_optimizer": self.predictor_optimizer,
            "optimizer": self.optimizer,
        }
