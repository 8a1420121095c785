"""Models of the reward of an offline run: an ensemble of perceptrons, or a transformer."""

import copy
import math
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.agents.learning_rates import RateSchedule
from pbrl.agents.policies import evaluating
from pbrl.feedback import TIE, LabelledQueries
from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.steps import dataset_steps
from pbrl.offline.windows import WindowSampler
from pbrl.preference import is_correct, make_loss
from pbrl.preference_transformer import PreferenceTransformer, PreferenceTransformerConfig
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.segments import Segments
from pbrl.tally import Tally
from pbrl.training.reward_passes import fit_in_passes, step_parts
from pbrl.windows import WindowSizes

WINDOWS_AT_ONCE = 256


@runtime_checkable
class RewardModel(Protocol):
    """What a reward stage fits."""

    def fit(
        self,
        labelled: LabelledQueries,
        replay: ReplayBuffer,
        generator: torch.Generator,
        max_steps: int | None = None,
    ) -> dict[str, float]:
        """Learn from the labels, see `RewardLearner.fit`; a fit in parts is the same fit."""
        ...

    def step_rewards(self, replay: ReplayBuffer) -> Float[Tensor, "member step"]:
        """Return the reward of every step of a dataset, of each network that there is."""
        ...

    def segment_scores(self, segments: Segments) -> Float[Tensor, "*shape"]:
        """Return what segments are worth; higher is better."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that learning has changed."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class EnsembleReward(RewardLearner):
    """An ensemble of perceptrons; see `RewardLearner`."""

    @torch.no_grad()
    def step_rewards(self, replay: ReplayBuffer) -> Float[Tensor, "member step"]:
        """Return the reward of every step of a dataset, of each member."""
        rewards = torch.cat([self.ensemble(*part) for part in step_parts(replay)], 1)
        if self.ensemble.config.normalize_rewards:
            return self.ensemble.reward_moments.standardize(rewards)
        return rewards

    @torch.no_grad()
    def segment_scores(self, segments: Segments) -> Float[Tensor, "*shape"]:
        """Return the sum of predicted rewards of each segment, the mean over the members."""
        return self.ensemble.segment_returns(segments).mean(0)


class TransformerReward:
    """A Preference Transformer: the reward of a step depends on what came before it.

    A step gets the reward that the network gives it as the last of a window as long as the labelled
    segments, shorter at the beginning of an episode.

    Args:
        config: the network and its optimiser.
        learning: batch, passes, peak rate and loss; crops, a bootstrap and an estimate of label
            noise are not made here.
        dataset: whose dimensions and observations the network is made for.
        labelled: what will be learned from: says how long the schedule of the rate is, and how long
            a segment.
        generator: source of the initial parameters and of dropout.

    Raises:
        ValueError: if a labelled segment has more steps than the network knows places.
    """

    def __init__(
        self,
        config: PreferenceTransformerConfig,
        learning: RewardLearningConfig,
        dataset: OfflineDataset,
        labelled: LabelledQueries,
        generator: torch.Generator,
    ) -> None:
        self.learning = learning
        self.segment_steps = int(labelled.index.length.max())
        if self.segment_steps > config.num_timesteps:
            raise ValueError(
                f"labelled segments have up to {self.segment_steps} steps, and num_timesteps of "
                f"the reward is {config.num_timesteps}: raise it"
            )
        self.network = PreferenceTransformer(
            config, dataset.observation_dim, dataset.action_dim, generator=generator
        )
        self.network.observation_moments.update(dataset.replay.all_observations())
        self.rate = transformer_rate(config, learning, len(labelled))
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=learning.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.num_steps = 0
        self._loss = make_loss(learning.loss)

    def fit(
        self,
        labelled: LabelledQueries,
        replay: ReplayBuffer,
        generator: torch.Generator,
        max_steps: int | None = None,
    ) -> dict[str, float]:
        """Learn from the labels and return the metrics of `RewardLearner.fit`."""
        self.network.train()
        metrics, _ = fit_in_passes(
            self._step, self.learning, labelled, replay, generator, max_steps
        )
        steps_per_pass = math.ceil(len(labelled) / self.learning.batch_size)
        return metrics | {"reward/passes": metrics["reward/steps"] / steps_per_pass}

    def _step(
        self,
        segments: Segments,
        labels: Float[Tensor, " query"],
        weights: Float[Tensor, " query"],
        tally: Tally,
    ) -> None:
        score_0, score_1 = self.network.scores(segments).unbind(1)
        loss = (self._loss(score_0, score_1, labels) * weights).sum() / weights.sum()
        self.optimizer.param_groups[0]["lr"] = self.rate.at(self.num_steps)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.num_steps += 1
        counts = (labels != TIE) & (weights > 0)
        is_right = is_correct((score_1 - score_0).detach(), labels) & counts
        tally.add(loss, is_right[None, :, None], counts[None, :, None])

    @torch.no_grad()
    def step_rewards(self, replay: ReplayBuffer) -> Float[Tensor, "member step"]:
        """Return the reward of every step of a dataset, of the one network."""
        longest = int(dataset_steps(replay).lengths.max())
        sizes = WindowSizes(
            number=WINDOWS_AT_ONCE, steps=min(self.segment_steps, longest), anchor="last"
        )
        sampler = WindowSampler(replay, sizes)

        def rewards(rows: Int[Tensor, " window"]) -> Tensor:
            windows = sampler.read(rows)
            return self.network.last_rewards(windows.observations, windows.actions, windows.mask)

        with evaluating(self.network):
            rows = torch.arange(sampler.num_rows, device=replay.device)
            return torch.cat([rewards(part) for part in rows.split(WINDOWS_AT_ONCE)])[None]

    @torch.no_grad()
    def segment_scores(self, segments: Segments) -> Float[Tensor, "*shape"]:
        """Return what segments are worth."""
        with evaluating(self.network):
            return self.network.scores(segments)

    def state_dict(self) -> dict[str, Any]:
        """Return network, optimiser and the number of steps."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "num_steps": self.num_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        # torch keeps the tensors of a loaded state and would write into the giver's.
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.num_steps = int(state["num_steps"])


def transformer_rate(
    config: PreferenceTransformerConfig, learning: RewardLearningConfig, num_labels: int
) -> RateSchedule:
    """Return how the rate changes over the whole fit."""
    num_steps = learning.num_steps(num_labels)
    return RateSchedule(
        peak=learning.learning_rate,
        warmup=int(config.warmup_share * num_steps),
        decay=num_steps,
        start=config.lowest_share,
        end=config.lowest_share,
    )
