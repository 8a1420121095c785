"""Inverse Preference Learning (Hejna and Sadigh 2023, arXiv 2305.15363) on IQL, XQL or AWAC.

For a fixed policy a Q-function and a reward determine each other, so that the preferences are put
on the reward that Q implies and no reward is learned.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pbrl.agents.ipl_losses import gumbel_loss, implied_reward, value_bound
from pbrl.agents.ipl_steps import Steps, join_steps
from pbrl.agents.iql_losses import advantage_weights, expectile_loss, policy_loss
from pbrl.agents.iql_networks import evaluate_critics
from pbrl.agents.policies import PolicyConfig, make_policy
from pbrl.agents.state import Parts, PolicyAgent, descend
from pbrl.checks import check_fields
from pbrl.networks import EnsembleMLP, mlp, move_towards
from pbrl.pairs import OfflineBatch, OfflineBatchSizes, PairBatch
from pbrl.preference import LossConfig, make_loss, preference_metrics, sum_score

Backbone = Literal["iql", "xql", "awac"]


@dataclass(frozen=True, kw_only=True)
class IPLConfig:
    """Networks and rates; the defaults are those of IPL-IQL on D4RL locomotion.

    Attributes:
        policy: the actor, regressed on actions weighted by their advantage.
        backbone: what V(s) is. "iql": an expectile of Q over actions; "xql": a soft maximum, in the
            paper and not in its code; "awac": no network, Q(s, a) of the target critics at an
            action of the policy.
        hidden_sizes: widths of the hidden layers of critics and value, ReLU between them. Theirs on
            Meta-World: 256, 256, 256.
        loss: of the sums of implied rewards of a pair.
        regularizer: c, weight of the mean squared implied reward, above 0. Theirs: 0.5; robomimic
            4; Meta-World 3, with AWAC 4. What is right depends on the length of the segments.
        clip_value: keep V(s') within 1 / (c (1 - gamma)). Theirs: not on Meta-World.
        expectile: of "iql", in (0, 1). Theirs on Meta-World: 0.75.
        gumbel_temperature: of "xql", above 0. XQL's own on D4RL locomotion, not checked with IPL.
        max_exponent: of "xql", where its exponential is cut off; likewise.
        inverse_temperature: beta, 0 or above, in the weight exp(beta (Q - V)). Theirs: 3; robomimic
            0.5.
        max_weight: largest weight, above 0.
        learning_rate: of Adam for every network, above 0.
        discount: gamma, in [0, 1).
        target_rate: step of the target critics towards the critics after every update, in (0, 1].
        num_critics: the lowest of so many targets counts; each learns from all labels. Theirs: 2,
            with AWAC 1.
        initialization: of critics and value, "orthogonal" with zero biases or "torch".
        num_pairs: labelled pairs per update. Theirs on Meta-World: 16.
        num_transitions: further steps of the dataset per update; 0 learns from the pairs alone.
        dataset_weight: share that those have of each loss over transitions, in [0, 1].
        segment_steps: length of the window cut from each segment, at least 2; None takes them
            whole. Theirs: robomimic 32 or 64, Meta-World 16.
    """

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    backbone: Backbone = "iql"
    hidden_sizes: tuple[int, ...] = (256, 256)
    loss: LossConfig = field(default_factory=LossConfig)
    regularizer: float = 0.5
    clip_value: bool = True
    expectile: float = 0.7
    gumbel_temperature: float = 2.0
    max_exponent: float = 7.0
    inverse_temperature: float = 3.0
    max_weight: float = 100.0
    learning_rate: float = 3e-4
    discount: float = 0.99
    target_rate: float = 0.005
    num_critics: int = 2
    initialization: Literal["orthogonal", "torch"] = "orthogonal"
    num_pairs: int = 8
    num_transitions: int = 256
    dataset_weight: float = 0.5
    segment_steps: int | None = 64

    def __post_init__(self) -> None:
        steps = self.segment_steps
        check_fields(
            self,
            ("backbone", " or ".join(get_args(Backbone)), self.backbone in get_args(Backbone)),
            ("hidden_sizes", "positive widths", all(size >= 1 for size in self.hidden_sizes)),
            ("regularizer", "above 0", self.regularizer > 0),
            ("expectile", "in (0, 1)", 0 < self.expectile < 1),
            ("gumbel_temperature", "above 0", self.gumbel_temperature > 0),
            ("max_exponent", "above 0", self.max_exponent > 0),
            ("inverse_temperature", "0 or above", self.inverse_temperature >= 0),
            ("max_weight", "above 0", self.max_weight > 0),
            ("learning_rate", "above 0", self.learning_rate > 0),
            ("discount", "in [0, 1)", 0 <= self.discount < 1),
            ("target_rate", "in (0, 1]", 0 < self.target_rate <= 1),
            ("num_critics", "at least 1", self.num_critics >= 1),
            (
                "initialization",
                "orthogonal or torch",
                self.initialization in ("orthogonal", "torch"),
            ),
            ("num_pairs", "at least 1", self.num_pairs >= 1),
            ("dataset_weight", "in [0, 1]", 0 <= self.dataset_weight <= 1),
            ("segment_steps", "None or at least 2", steps is None or steps > 1),
            ("policy", "without an encoder: this IPL sees no images", self.policy.encoder is None),
        )
        self.batch_sizes()

    def batch_sizes(self) -> OfflineBatchSizes:
        """Return what one update draws."""
        return OfflineBatchSizes(
            pairs=self.num_pairs,
            transitions=self.num_transitions,
            segment_steps=self.segment_steps,
            least_steps=2,  # of a last step the following state is not known
        )


class IPL(PolicyAgent[IPLConfig]):
    """A policy learned from preferences through the reward that its Q-function implies.

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

    takes_seeds = True
    is_recordable = True

    def __init__(
        self,
        config: IPLConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, device=device, generator=generator)
        self._loss = make_loss(config.loss)
        hidden, initialization = config.hidden_sizes, config.initialization
        self.policy = make_policy(config.policy, observation_dim, action_dim, generator)
        self.critic, self.target_critic = (
            EnsembleMLP(
                config.num_critics,
                (observation_dim + action_dim, *hidden, 1),
                initialization=initialization,
                generator=generator,
            )
            for _ in range(2)
        )
        self.target_critic.load_state_dict(self.critic.state_dict())
        self.target_critic.requires_grad_(requires_grad=False)
        self.value: nn.Sequential | None = None
        if config.backbone != "awac":
            self.value = mlp(
                (observation_dim, *hidden, 1), initialization=initialization, generator=generator
            )
        trained = (self.policy, self.critic, *([] if self.value is None else [self.value]))
        # One optimiser: it leaves alone what a loss gave no gradient.
        self.optimizer = torch.optim.Adam(
            [parameter for network in trained for parameter in network.parameters()],
            lr=config.learning_rate,
            fused=True,
        )

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws."""
        return self.config.batch_sizes()

    def update(self, batch: OfflineBatch) -> dict[str, Tensor]:
        """Update value, critics, policy and targets, in the order of IPL's code; return metrics.

        Raises:
            ValueError: if the batch lacks what `batch_sizes` asks for.
        """
        config, pairs = self.config, batch.pairs
        if pairs is None or (batch.transitions is None) != (config.num_transitions == 0):
            raise ValueError(f"the batch must hold what {self.batch_sizes} asks for")
        steps = join_steps(pairs, batch.transitions, config.discount, config.dataset_weight)
        if self.value is None:
            metrics = self._update_as_awac(steps, pairs)
        else:
            metrics = self._update_with_value(self.value, steps, pairs)
        move_towards(self.target_critic, self.critic, config.target_rate)
        self.num_updates += 1
        return metrics

    def _update_with_value(
        self, value: nn.Sequential, steps: Steps, pairs: PairBatch
    ) -> dict[str, Tensor]:
        target_q = self._lowest_target(steps.observations, steps.actions)
        difference = target_q - value(steps.observations).squeeze(-1)
        value_loss = steps.mean(self._value_loss(difference))
        descend(self.optimizer, value_loss)
        with torch.no_grad():
            both = value(torch.cat([steps.observations, steps.next_observations], -2))
            state_value, next_value = both.squeeze(-1).chunk(2, -1)
        of_critic, _, metrics = self._critic_loss(steps, pairs, next_value)
        of_policy, more = self._policy_loss(steps, target_q - state_value)
        descend(self.optimizer, of_critic + of_policy)  # their gradients are disjoint
        values = {"value_loss": value_loss.detach(), "value": state_value.mean(-1)}
        return metrics | more | values

    def _update_as_awac(self, steps: Steps, pairs: PairBatch) -> dict[str, Tensor]:
        """As with a value, but V is Q at an action of the policy, drawn anew for every state."""
        following = steps.next_observations
        next_value = self._lowest_target(following, self.act(following, deterministic=False))
        of_critic, q, metrics = self._critic_loss(steps, pairs, next_value)
        descend(self.optimizer, of_critic)
        own = self.act(steps.observations, deterministic=False)
        with torch.no_grad():
            own_q = evaluate_critics(self.critic, steps.observations, own)
        of_policy, more = self._policy_loss(steps, q.mean(-2) - own_q.mean(-2))
        descend(self.optimizer, of_policy)
        return metrics | more

    @torch.no_grad()
    def _lowest_target(self, observations: Tensor, actions: Tensor) -> Tensor:
        return evaluate_critics(self.target_critic, observations, actions).amin(-2)

    def _value_loss(self, difference: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        config = self.config
        if config.backbone == "xql":
            return gumbel_loss(difference, config.gumbel_temperature, config.max_exponent)
        return expectile_loss(difference, config.expectile)

    def _critic_loss(
        self, steps: Steps, pairs: PairBatch, next_value: Float[Tensor, "*seed batch"]
    ) -> tuple[Tensor, Float[Tensor, "*seed critic batch"], dict[str, Tensor]]:
        """Return the critics' loss, their detached Q, and metrics."""
        config = self.config
        if config.clip_value and self.value is not None:
            bound = value_bound(steps.discount, config.regularizer)
            next_value = next_value.clamp(-bound, bound)
        q = evaluate_critics(self.critic, steps.observations, steps.actions)
        rewards = implied_reward(q, next_value, steps.discount)
        shape = steps.in_segment.shape[-3:]
        in_segments = rewards[..., : shape.numel()].unflatten(-1, shape)
        scores = sum_score(in_segments, steps.in_segment.unsqueeze(-4))
        score_0, score_1 = scores.unbind(-1)  # [critic, query]
        terms = self._loss(score_0, score_1, pairs.labels.unsqueeze(-2)).mean(-2)
        by_preference = (terms * pairs.weights).sum(-1) / pairs.weights.sum(-1)
        by_regularizer = config.regularizer * steps.mean(rewards.square().mean(-2))
        metrics = preference_metrics(
            score_0.detach().mean(-2), score_1.detach().mean(-2), pairs.labels
        )
        return (
            by_preference + by_regularizer,
            q.detach(),
            metrics
            | {
                "preference_loss": by_preference.detach(),
                "regularizer": by_regularizer.detach(),
                "implied_reward": steps.mean(rewards.detach().mean(-2)),
            },
        )

    def _policy_loss(
        self, steps: Steps, advantage: Float[Tensor, "*seed batch"]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        self.policy.train()
        better = advantage_weights(advantage, config.inverse_temperature, config.max_weight)
        log_prob = self.policy.log_prob(steps.observations, steps.actions)
        loss = steps.mean(policy_loss(log_prob, better))
        return loss, {"policy_loss": loss.detach(), "advantage": steps.mean(advantage)}

    def _parts(self) -> Parts:
        return {
            "policy": self.policy,
            "critic": self.critic,
            "target_critic": self.target_critic,
            "value": self.value,
            "optimizer": self.optimizer,
        }
