"""A Gaussian reward as the model of an offline run."""

import copy
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.feedback import TIE, LabelledQueries
from pbrl.gaussian_reward import (
    GaussianReward,
    GaussianRewardConfig,
    sample_rewards,
    sampled_loss,
    uncertainty_loss,
)
from pbrl.offline.dataset import OfflineDataset
from pbrl.preference import is_correct, make_loss, sum_score
from pbrl.replay import ReplayBuffer
from pbrl.reward_learning import RewardLearningConfig
from pbrl.segments import Segments
from pbrl.tally import Tally
from pbrl.training.reward_passes import EVALUATED_AT_ONCE, fit_in_passes, step_parts


class GaussianRewardModel:
    """Learns mean and standard deviation of each step's reward; policies learn from the mean.

    Args:
        config: the network and its loss.
        learning: rate, batch, passes and preference loss.
        dataset: whose dimensions and observations the network is made for.
        generator: source of the initial parameters.
    """

    def __init__(
        self,
        config: GaussianRewardConfig,
        learning: RewardLearningConfig,
        dataset: OfflineDataset,
        generator: torch.Generator,
    ) -> None:
        self.config = config
        self.learning = learning
        self.network = GaussianReward(
            config, dataset.observation_dim, dataset.action_dim, generator=generator
        )
        for part in dataset.replay.all_observations().split(EVALUATED_AT_ONCE):
            self.network.observation_moments.update(part)
        self._loss = make_loss(learning.loss)
        self._optimizer = torch.optim.Adam(
            self.network.parameters(), lr=learning.learning_rate, fused=True
        )

    def fit(
        self,
        labelled: LabelledQueries,
        replay: ReplayBuffer,
        generator: torch.Generator,
        max_steps: int | None = None,
    ) -> dict[str, float]:
        """Learn from the labels, see `RewardLearner.fit`; a fit in parts is the same fit.

        Returns:
            reward/loss, of the samples, reward/std, the mean standard deviation of the last pass,
            reward/steps, and reward/accuracy, of the means, if a label is not a tie.
        """
        step = partial(self._step, generator)
        metrics, tally = fit_in_passes(step, self.learning, labelled, replay, generator, max_steps)
        return metrics | {"reward/std": tally.distance()}

    def _step(
        self,
        generator: torch.Generator,
        segments: Segments,
        labels: Float[Tensor, " query"],
        weights: Float[Tensor, " query"],
        tally: Tally,
    ) -> None:
        mean, std = self.network(segments.observations, segments.actions)  # [query, two, time]
        shape = (self.config.num_samples, *mean.shape)
        noise = torch.randn(shape, generator=generator, device=mean.device)
        losses = sampled_loss(self._loss, sample_rewards(mean, std, noise), segments.mask, labels)
        score_0, score_1 = sum_score(mean, segments.mask).unbind(-1)
        total = losses + self.config.mean_weight * self._loss(score_0, score_1, labels)
        uncertainty = uncertainty_loss(std, segments.mask, self.config.least_entropy)
        total = total + self.config.uncertainty_weight * uncertainty
        share = weights / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        self._optimizer.zero_grad(set_to_none=True)
        (total * share).sum().backward()
        self._optimizer.step()
        counted = (labels != TIE)[None, :, None]
        correct = is_correct(score_1 - score_0, labels)[None, :, None]
        tally.add((losses * share).sum(), correct & counted, counted)
        tally.add_distance((std * segments.mask).sum() / segments.mask.sum())

    @torch.no_grad()
    def step_rewards(self, replay: ReplayBuffer) -> Float[Tensor, "member step"]:
        """Return the mean reward of every step of a dataset, of the one network."""
        return torch.cat([self.network(*part)[0] for part in step_parts(replay)])[None]

    @torch.no_grad()
    def segment_scores(self, segments: Segments) -> Float[Tensor, "*shape"]:
        """Return the sum of the mean rewards of each segment."""
        mean, _ = self.network(segments.observations, segments.actions)
        return sum_score(mean, segments.mask)

    def state_dict(self) -> dict[str, Any]:
        """Return the network and its optimiser."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        # torch keeps the tensors of a loaded state and would write into the giver's.
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
