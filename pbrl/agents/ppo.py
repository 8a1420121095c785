"""Proximal policy optimization (Schulman et al. 2017, arXiv 1707.06347) for many worlds."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.agents.ppo_losses import (
    clipped_surrogate,
    divergence,
    generalized_advantages,
    standardized,
    value_loss,
)
from pbrl.agents.ppo_steps import Judged
from pbrl.agents.state import AgentOfParts, Parts, descend
from pbrl.agents.tanh_gaussian import TanhGaussian, log_density, squash
from pbrl.batches import Batch, NewestSteps, Rollout
from pbrl.checks import check_fields
from pbrl.networks import Linear, mlp
from pbrl.randomness import standard_normal, uniform_doubles
from pbrl.running_moments import RunningMoments

LARGEST_INPUT = 10.0  # standard deviations, as `VecNormalize` of stable-baselines3 keeps
SMALL_OUTPUT = 0.01  # scale of the policy's last layer at the start


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Networks and rates; where nothing else is said, the paper's for MuJoCo (its table 3).

    Attributes:
        hidden_sizes: widths of the policy's hidden layers, ReLU between them; the paper has tanh.
        value_hidden_sizes: those of the value's network, which shares nothing with the policy.
        learning_rate: of Adam, above 0.
        horizon: steps of every environment that an update learns from; the paper has one.
        num_epochs: times that an update goes through them.
        num_minibatches: parts of each time, drawn anew; 32 of 64 steps in the paper.
        clip: epsilon, how far the ratio of densities may earn, above 0.
        discount: gamma, in [0, 1].
        trace: lambda of the advantages, in [0, 1].
        entropy_weight: of the policy's entropy in nats, 0 or above.
        largest_gradient: norm to which the gradients of each network are shortened, above 0. Not in
            the paper; 0.5 in stable-baselines3, there over both networks.
        log_std_bounds: range of the log standard deviation before the tanh, cut off.
        normalize_observations: let the networks see observations standardised by the moments of
            all steps before this update, cut off at ten standard deviations. Not in the paper.
    """

    hidden_sizes: tuple[int, ...] = (64, 64)
    value_hidden_sizes: tuple[int, ...] = (64, 64)
    learning_rate: float = 3e-4
    horizon: int = 2048
    num_epochs: int = 10
    num_minibatches: int = 32
    clip: float = 0.2
    discount: float = 0.99
    trace: float = 0.95
    entropy_weight: float = 0.0
    largest_gradient: float = 0.5
    log_std_bounds: tuple[float, float] = (-5.0, 2.0)
    normalize_observations: bool = True

    def __post_init__(self) -> None:
        def widths(name: str) -> tuple[str, str, bool]:
            return name, "one or more positive widths", min(getattr(self, name), default=0) >= 1

        def count(name: str) -> tuple[str, str, bool]:
            return name, "1 or above", getattr(self, name) >= 1

        check_fields(
            self,
            widths("hidden_sizes"),
            widths("value_hidden_sizes"),
            ("learning_rate", "above 0", self.learning_rate > 0),
            count("horizon"),
            count("num_epochs"),
            count("num_minibatches"),
            ("clip", "above 0", self.clip > 0),
            ("discount", "in [0, 1]", 0 <= self.discount <= 1),
            ("trace", "in [0, 1]", 0 <= self.trace <= 1),
            ("entropy_weight", "0 or above", self.entropy_weight >= 0),
            ("largest_gradient", "above 0", self.largest_gradient > 0),
            ("log_std_bounds", "increasing", self.log_std_bounds[0] < self.log_std_bounds[1]),
        )


class PPO(AgentOfParts[PPOConfig]):
    """A tanh-Gaussian policy and a value network that learn from the newest steps alone.

    One update is a whole round of the paper: advantages of all steps, then `num_epochs` times all
    minibatches. The policy does not change between updates, so its densities before the first
    minibatch are those of acting. The networks see observations by the moments of earlier updates,
    for the same reason; those of this one are taken in at its end.

    Departures from the paper, beside those in `PPOConfig`: a tanh keeps actions in [-1, 1], and
    their entropy is that of a fresh sample; the value's network has an optimiser of its own and so
    no coefficient (c1 in eq. 9), and learns returns standardised by their running moments, as
    learned rewards have no scale of their own; advantages are standardised; the policy's last layer
    starts small, so that all actions are near 0 in the mean (Andrychowicz et al. 2021, arXiv
    2006.05990, recommend the last three).

    Args:
        config: networks and rates.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters, noise and minibatches; on `device`. Whoever owns it
            saves its state.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    takes_seeds = True
    is_recordable = True

    def __init__(
        self,
        config: PPOConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, device=device, generator=generator)
        self.observation_dim = observation_dim
        self.action_dim = action_dim
        self.observation_moments = RunningMoments(observation_dim).to(device)
        self.return_moments = RunningMoments().to(device)
        self.actor = TanhGaussian(
            observation_dim,
            action_dim,
            config.hidden_sizes,
            log_std_bounds=config.log_std_bounds,
            log_std_mode="clamp",
            generator=generator,
        ).to(device)
        last = self.actor.layers[-2]
        assert isinstance(last, Linear)  # in front of the identity
        last.weight.data.mul_(SMALL_OUTPUT)
        self.policy_optimizer = torch.optim.Adam(
            self.actor.parameters(), lr=config.learning_rate, fused=True
        )
        self.reset_critic()

    def reset_critic(self) -> None:
        """Draw a new value network, and forget its optimiser and the moments of returns."""
        config = self.config
        sizes = (self.observation_dim, *config.value_hidden_sizes, 1)
        self.critic = mlp(sizes, initialization="orthogonal", generator=self.generator).to(
            self.device
        )
        self.value_optimizer = torch.optim.Adam(
            self.critic.parameters(), lr=config.learning_rate, fused=True
        )
        self.return_moments.reset()

    @property
    def batch_steps(self) -> NewestSteps:
        """What an update learns from: the newest steps of every environment."""
        return NewestSteps(num_steps=self.config.horizon)

    @torch.no_grad()
    def act(
        self, observations: Float[Tensor, "*seed batch obs"], deterministic: bool
    ) -> Float[Tensor, "*seed batch act"]:
        """Return actions in [-1, 1]: the tanh of the mean, or a sample."""
        mean, log_std = self.distribution(observations)
        if deterministic:
            return torch.tanh(mean)
        return squash(mean, log_std, standard_normal(mean, self.generator))[0]

    def distribution(
        self, observations: Float[Tensor, "*batch obs"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """Return mean and log standard deviation of the policy before the tanh."""
        mean, log_std = self.actor(self._inputs(observations))
        return mean, log_std

    def log_prob(
        self, observations: Float[Tensor, "*batch obs"], actions: Float[Tensor, "*batch act"]
    ) -> Float[Tensor, "*batch"]:
        """Return the policy's log density of given actions, differentiable in its parameters."""
        return log_density(*self.distribution(observations), actions)

    def values(self, observations: Float[Tensor, "*batch obs"]) -> Float[Tensor, "*batch"]:
        """Return V(s) in units of the reward."""
        return self.return_moments.restore(self.critic(self._inputs(observations)).squeeze(-1))

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Improve policy and values by the newest steps; return means over all minibatches.

        Args:
            batch: a `Rollout` of the steps that the policy as it is has taken.

        Raises:
            TypeError: if it holds transitions in no order.
            ValueError: if there are fewer steps than minibatches.
        """
        config = self.config
        if not isinstance(batch, Rollout):
            raise TypeError(
                f"PPO learns from a Rollout of its own steps, got {type(batch).__name__}"
            )
        if batch.rewards.shape[-2:].numel() < config.num_minibatches:
            raise ValueError(
                f"num_minibatches must be at most the {batch.rewards.shape[-2:].numel()} steps of "
                f"an update, got {config.num_minibatches}"
            )
        judged = self._judge(batch)
        shape = judged.advantages.shape
        found = []
        for _ in range(config.num_epochs):
            order = uniform_doubles(shape, self.generator, self.device).argsort(-1)
            for part in judged.shuffled(order, config.num_minibatches):
                found.append(self._improve_policy(part) | self._improve_values(part))
        if config.normalize_observations:
            self.observation_moments.update(batch.observations.flatten(-3, -2))
        self.num_updates += 1
        return {name: torch.stack([one[name] for one in found]).mean(0) for name in found[0]}

    @torch.no_grad()
    def _judge(self, batch: Rollout) -> Judged:
        """Return the steps with their densities, advantages and what the values shall become."""
        config, moments = self.config, self.return_moments
        values = self.values(batch.observations)
        advantages = generalized_advantages(
            rewards=batch.rewards,
            values=values,
            next_values=self.values(batch.next_observations),
            terminated=batch.terminated,
            is_last=batch.is_last,
            discount=config.discount,
            trace=config.trace,
        )
        returns = (advantages + values).flatten(-2)
        moments.update(returns)
        return Judged(
            inputs=self._inputs(batch.observations).flatten(-3, -2),
            actions=batch.actions.flatten(-3, -2),
            log_prob=self.log_prob(batch.observations, batch.actions).flatten(-2),
            advantages=standardized(advantages).flatten(-2),
            targets=moments.standardize(returns),
        )

    def _improve_policy(self, part: Judged) -> dict[str, Tensor]:
        config = self.config
        mean, log_std = self.actor(part.inputs)
        log_ratio = log_density(mean, log_std, part.actions) - part.log_prob
        loss = clipped_surrogate(log_ratio, part.advantages, config.clip)
        _, log_prob = squash(mean, log_std, standard_normal(mean, self.generator))
        entropy = -log_prob.mean(-1)
        descend(
            self.policy_optimizer, loss - config.entropy_weight * entropy, config.largest_gradient
        )
        return {
            "policy_loss": loss.detach(),
            "entropy": entropy.detach(),
            "divergence": divergence(log_ratio.detach()),
        }

    def _improve_values(self, part: Judged) -> dict[str, Tensor]:
        loss = value_loss(self.critic(part.inputs).squeeze(-1), part.targets)
        descend(self.value_optimizer, loss, self.config.largest_gradient)
        return {"value_loss": loss.detach()}

    def _inputs(self, observations: Tensor) -> Tensor:
        """Return what the networks see of observations."""
        if not self.config.normalize_observations:
            return observations
        standardized = self.observation_moments.standardize(observations)
        return standardized.clamp(-LARGEST_INPUT, LARGEST_INPUT)

    def _parts(self) -> Parts:
        moments = self.observation_moments if self.config.normalize_observations else None
        return {
            "actor": self.actor,
            "critic": self.critic,
            "policy_optimizer": self.policy_optimizer,
            "value_optimizer": self.value_optimizer,
            "observation_moments": moments,
            "return_moments": self.return_moments,
        }
