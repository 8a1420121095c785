"""Training of the reward ensemble on ratings of segments and on rankings of several."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.preference import plackett_luce_loss, sum_score
from pbrl.ratings import STEEPNESS, rating_loss
from pbrl.replay import ReplayBuffer
from pbrl.rewards import RewardEnsemble
from pbrl.segments import SegmentIndex

GradedLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class GradedLearningConfig:
    """How the ensemble is trained; the defaults are B-Pref's, as White et al. (2024) keep them.

    Attributes:
        learning_rate: of Adam, one optimiser for all members.
        batch_size: ratings or rankings for a gradient step and member.
        passes: over all of them.
        steepness: of the classes of a rating, k of White et al., positive.
    """

    learning_rate: float = 3e-4
    batch_size: int = 128
    passes: int = 50
    steepness: float = STEEPNESS

    def __post_init__(self) -> None:
        for name in ("learning_rate", "steepness"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("batch_size", "passes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class GradedLearner:
    """Trains a reward ensemble; networks and optimiser go on from one call to the next.

    Members draw their own minibatches and are trained in one pass; their losses are summed.

    Args:
        config: how to train.
        ensemble: what is trained.
    """

    def __init__(self, config: GradedLearningConfig, ensemble: RewardEnsemble) -> None:
        self.config = config
        self.ensemble = ensemble
        self._optimizer = torch.optim.Adam(ensemble.parameters(), lr=config.learning_rate)

    def fit_ratings(
        self,
        index: SegmentIndex,
        ratings: Int[Tensor, " segment"],
        num_classes: int,
        replay: ReplayBuffer,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Train on segments with a class each, by the loss of RbRL.

        Args:
            index: the segments, `[segment]`.
            ratings: 0 for the worst class.
            num_classes: how many there are.
            replay: where the segments lie.
            generator: source of randomness, on the device of the replay buffer.

        Returns:
            reward/loss (mean over members and the last pass) and reward/steps.

        Raises:
            ValueError: if there is no rating, or one is of no class.
        """
        if len(ratings) and not 0 <= int(ratings.min()) <= int(ratings.max()) < num_classes:
            raise ValueError(
                f"ratings must lie in 0 to {num_classes - 1}, got {int(ratings.min())} to "
                f"{int(ratings.max())}"
            )
        loss = partial(rating_loss, num_classes=num_classes, steepness=self.config.steepness)
        return self._fit(index, ratings, loss, replay, generator)

    def fit_rankings(
        self,
        index: SegmentIndex,
        grades: Float[Tensor, "list item"],
        replay: ReplayBuffer,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Train on lists of segments in an order of preference, by Plackett-Luce.

        Args:
            index: the segments, `[list, item]`.
            grades: higher is better; equal ones stand in their given order.
            replay: where the segments lie.
            generator: source of randomness, on the device of the replay buffer.

        Returns:
            As `fit_ratings`.

        Raises:
            ValueError: if there is no list.
        """
        return self._fit(index, grades, _order_loss, replay, generator)

    def state_dict(self) -> dict[str, Any]:
        """Return the ensemble with its normalisers, and the optimiser."""
        return {
            "ensemble": self.ensemble.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.ensemble.load_state_dict(state["ensemble"])
        # torch keeps the tensors of a loaded state and would write into the giver's.
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))

    def _fit(
        self,
        index: SegmentIndex,
        targets: Tensor,
        loss: GradedLoss,
        replay: ReplayBuffer,
        generator: torch.Generator,
    ) -> dict[str, float]:
        number = len(targets)
        if number == 0:
            raise ValueError("a reward cannot be learned from no feedback at all")
        if self.ensemble.config.normalize_observations:
            moments = self.ensemble.observation_moments
            moments.reset()
            moments.update(replay.all_observations())
        index, targets = index.to(replay.device), targets.to(replay.device)
        total, steps = torch.zeros((), device=replay.device), 0
        for _ in range(self.config.passes):
            total = torch.zeros((), device=replay.device)
            shape = (self.ensemble.num_members, number)
            order = torch.rand(shape, generator=generator, device=replay.device).argsort(1)
            for batch in order.split(self.config.batch_size, dim=1):
                scores = self._scores(index[batch], replay)
                value = loss(scores, targets[batch])  # [member, batch]
                self._optimizer.zero_grad(set_to_none=True)
                value.mean(1).sum().backward()
                self._optimizer.step()
                total += value.detach().sum()
                steps += 1
        self._refresh_reward_moments(index, replay)
        mean = float(total) / math.prod((self.ensemble.num_members, number))
        return {"reward/loss": mean, "reward/steps": float(steps)}

    @torch.no_grad()
    def _refresh_reward_moments(self, index: SegmentIndex, replay: ReplayBuffer) -> None:
        if self.ensemble.config.normalize_rewards:
            segments = replay.gather(index.reshape(-1))
            rewards = self.ensemble(segments.observations, segments.actions).mean(0)
            self.ensemble.reward_moments.reset()
            self.ensemble.reward_moments.update(rewards[segments.mask])

    def _scores(self, index: SegmentIndex, replay: ReplayBuffer) -> Tensor:
        """Return each member's returns of its own segments: `[member, batch, *item]`."""
        segments = replay.gather(index)
        inputs = self.ensemble.inputs(segments.observations, segments.actions)
        return sum_score(self.ensemble.evaluate(inputs), segments.mask)


def _order_loss(scores: Tensor, grades: Tensor) -> Tensor:
    order = grades.argsort(dim=-1, descending=True, stable=True)
    return plackett_luce_loss(scores.gather(-1, order))
