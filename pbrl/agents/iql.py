"""Implicit Q-Learning (Kostrikov et al. 2022, arXiv 2110.06169)."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.agents.iql_losses import (
    advantage_weights,
    bellman_target,
    critic_loss,
    policy_loss,
    value_loss,
)
from pbrl.agents.iql_networks import NetworkPlan, evaluate_critics
from pbrl.agents.policies import PolicyConfig, make_policy
from pbrl.agents.state import Parts, PolicyAgent, descend
from pbrl.checks import check_fields
from pbrl.encoders import shift_batch
from pbrl.networks import move_towards
from pbrl.pairs import OfflineBatch, OfflineBatchSizes
from pbrl.replay import Batch


@dataclass(frozen=True, kw_only=True)
class IQLConfig:
    """Networks and rates; the defaults are IQL's on D4RL locomotion.

    Attributes:
        policy: the actor; of fixed variance it is regressed by squared error, as in CPL's P-IQL.
        hidden_sizes: widths of the hidden layers of critics and value, ReLU between them.
        learning_rate: of Adam for policy, critics and value, above 0.
        policy_decay_updates: the policy's learning rate falls to 0 along half a cosine over so many
            updates; None keeps it. IQL: 1,000,000, the whole run.
        batch_size: transitions per update.
        expectile: tau in (0, 1): which expectile of Q the value is. IQL: 0.7, AntMaze 0.9.
        inverse_temperature: beta, 0 or above, in the weight exp(beta (Q - V)). IQL: 3, AntMaze 10.
        max_weight: largest weight, above 0. IQL: 100.
        discount: gamma, in [0, 1].
        target_rate: step of the target critics towards the critics after every update, in (0, 1].
        num_critics: the lowest of so many counts. IQL: 2.
        initialization: of critics and value, "orthogonal" with zero biases or "torch".
    """

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    hidden_sizes: tuple[int, ...] = (256, 256)
    learning_rate: float = 3e-4
    policy_decay_updates: int | None = 1_000_000
    batch_size: int = 256
    expectile: float = 0.7
    inverse_temperature: float = 3.0
    max_weight: float = 100.0
    discount: float = 0.99
    target_rate: float = 0.005
    num_critics: int = 2
    initialization: Literal["orthogonal", "torch"] = "orthogonal"

    def __post_init__(self) -> None:
        decay = self.policy_decay_updates
        check_fields(
            self,
            ("hidden_sizes", "positive widths", all(size >= 1 for size in self.hidden_sizes)),
            ("learning_rate", "above 0", self.learning_rate > 0),
            ("policy_decay_updates", "at least 1 or None", decay is None or decay >= 1),
            ("batch_size", "at least 1", self.batch_size >= 1),
            ("expectile", "in (0, 1)", 0 < self.expectile < 1),
            ("inverse_temperature", "0 or above", self.inverse_temperature >= 0),
            ("max_weight", "above 0", self.max_weight > 0),
            ("discount", "in [0, 1]", 0 <= self.discount <= 1),
            ("target_rate", "in (0, 1]", 0 < self.target_rate <= 1),
            ("num_critics", "at least 1", self.num_critics >= 1),
            (
                "initialization",
                "orthogonal or torch",
                self.initialization in ("orthogonal", "torch"),
            ),
        )


class IQL(PolicyAgent[IQLConfig]):
    """A policy regressed on the better actions of a dataset, by the rewards of its transitions.

    Args:
        config: networks and rates.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters, dropout and noise; on `device`. Whoever owns it saves
            its state.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    learns_from_rewards = True
    takes_seeds = True
    is_recordable = True

    def __init__(
        self,
        config: IQLConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, device=device, generator=generator)
        self.policy = make_policy(config.policy, observation_dim, action_dim, generator)
        plan = NetworkPlan(
            num_features=self.policy.num_features,
            hidden_sizes=config.hidden_sizes,
            initialization=config.initialization,
            encoder=config.policy.encoder,
            generator=generator,
        )
        self.critic, self.target_critic = (
            plan.critics(config.num_critics, action_dim) for _ in range(2)
        )
        self.target_critic.load_state_dict(self.critic.state_dict())
        self.target_critic.requires_grad_(requires_grad=False)
        self.value = plan.value()
        self.policy_optimizer, self.critic_optimizer, self.value_optimizer = (
            torch.optim.Adam(module.parameters(), lr=config.learning_rate, fused=True)
            for module in (self.policy, self.critic, self.value)
        )

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws."""
        return OfflineBatchSizes(transitions=self.config.batch_size)

    def update(self, batch: OfflineBatch) -> dict[str, Tensor]:
        """Update value, policy, critics and targets from transitions; return metrics.

        Raises:
            ValueError: if the batch holds no transitions.
        """
        if batch.transitions is None:
            raise ValueError(f"the batch must hold what {self.batch_sizes} asks for")
        given = shift_batch(batch.transitions, self.config.policy.encoder, self.generator)
        return self.learn(self.encoded(given))

    def encoded(self, batch: Batch) -> Batch:
        """Return transitions with features in place of images; the policy's loss trains them."""
        observations = self.policy.encode(batch.observations)
        with torch.no_grad():
            following = self.policy.encode(batch.next_observations)
        return replace(batch, observations=observations, next_observations=following)

    def prepare_update(self) -> None:
        """Set the policy's rate."""
        self._set_rate(self.policy_optimizer, self.policy_learning_rate())

    def learn(
        self, batch: Batch, weights: Float[Tensor, "*seed batch"] | None = None
    ) -> dict[str, Tensor]:
        """Take one step of every network, the value first, as in IQL's code; return metrics.

        Args:
            batch: transitions, encoded, with the reward to learn from.
            weights: of each transition in every loss, summing to 1; None takes the mean.
        """
        if not self.is_recorded:
            self.prepare_update()
        if weights is None:
            weights = torch.full_like(batch.rewards, 1 / batch.rewards.shape[-1])
        features = batch.observations
        batch = replace(batch, observations=features.detach())
        with torch.no_grad():
            target_q = evaluate_critics(self.target_critic, batch.observations, batch.actions)
            target_q = target_q.amin(-2)
        metrics = self._update_value(batch, target_q, weights)
        with torch.no_grad():
            both = torch.cat([batch.observations, batch.next_observations], -2)
            value, next_value = self.value(both).squeeze(-1).chunk(2, -1)
        metrics |= self._update_policy(features, batch, target_q - value, weights)
        metrics |= self._update_critic(batch, next_value, weights)
        move_towards(self.target_critic, self.critic, self.config.target_rate)
        self.num_updates += 1
        return metrics

    def _update_value(self, batch: Batch, target_q: Tensor, weights: Tensor) -> dict[str, Tensor]:
        value = self.value(batch.observations).squeeze(-1)
        loss = (weights * value_loss(value, target_q, self.config.expectile)).sum(-1)
        descend(self.value_optimizer, loss)
        return {"value_loss": loss.detach(), "value": value.detach().mean(-1)}

    def _update_policy(
        self, features: Tensor, batch: Batch, advantage: Tensor, weights: Tensor
    ) -> dict[str, Tensor]:
        config = self.config
        self.policy.train()
        better = advantage_weights(advantage, config.inverse_temperature, config.max_weight)
        log_prob = self.policy.log_prob_of(features, batch.actions)
        loss = (weights * policy_loss(log_prob, better)).sum(-1)
        descend(self.policy_optimizer, loss)
        return {"policy_loss": loss.detach(), "advantage": advantage.mean(-1)}

    def _update_critic(
        self, batch: Batch, next_value: Tensor, weights: Tensor
    ) -> dict[str, Tensor]:
        target = bellman_target(batch.rewards, batch.terminated, next_value, self.config.discount)
        q = evaluate_critics(self.critic, batch.observations, batch.actions)
        loss = (weights * critic_loss(q, target)).sum(-1)
        descend(self.critic_optimizer, loss)
        return {"critic_loss": loss.detach(), "q": q.detach().mean((-2, -1))}

    def policy_learning_rate(self) -> float:
        """Return the policy's rate in the next update."""
        config = self.config
        if config.policy_decay_updates is None:
            return config.learning_rate
        done = min(1.0, self.num_updates / config.policy_decay_updates)
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def _parts(self) -> Parts:
        return {
            "policy": self.policy,
            "critic": self.critic,
            "target_critic": self.target_critic,
            "value": self.value,
            "policy_optimizer": self.policy_optimizer,
            "critic_optimizer": self.critic_optimizer,
            "value_optimizer": self.value_optimizer,
        }
