"""SAC, IQL, IPL and CPL with nothing done for speed: the same updates in plain torch.

One perceptron per critic, one optimiser per network, Adam as torch has it, the distributions of
torch. Losses, sizes and the order of the steps are those of our agents.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from pbrl.agents.cpl import CPLConfig
from pbrl.agents.ipl import IPLConfig
from pbrl.agents.ipl_steps import join_steps
from pbrl.agents.iql import IQLConfig
from pbrl.agents.sac import SACConfig
from pbrl.batches import Batch
from pbrl.pairs import OfflineBatch


def perceptron(
    sizes: tuple[int, ...], *, dropout: float = 0.0, tanh: bool = False
) -> nn.Sequential:
    """Return linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
    layers = layers[: -2 if dropout else -1]
    return nn.Sequential(*layers, nn.Tanh()) if tanh else nn.Sequential(*layers)


class PlainAgent:
    """Two critics, their targets, and steps of optimisers by name.

    Args:
        config: of the agent that this one is compared with.
        dims: sizes of an observation and of an action.
        rate: of the critics' optimiser.
        device: where it lives.
    """

    def __init__(
        self, config: Any, dims: tuple[int, int], rate: float, device: str = "cpu"
    ) -> None:
        self.config, self.device = config, device
        self.optimizers: dict[str, torch.optim.Adam] = {}
        sizes = (sum(dims), *config.hidden_sizes, 1)
        critics = nn.ModuleList([perceptron(sizes), perceptron(sizes)])
        self.critics = self.add("critics", critics, rate)
        self.targets = copy.deepcopy(self.critics)

    def add(self, name: str, module: nn.Module, rate: float) -> Any:
        """Return a module on the device, which has an optimiser from now on."""
        self.optimizers[name] = torch.optim.Adam(module.to(self.device).parameters(), lr=rate)
        return module

    @staticmethod
    def q(critics: nn.ModuleList, observations: Tensor, actions: Tensor) -> list[Tensor]:
        """Return what each critic thinks."""
        seen = torch.cat([observations, actions], -1)
        return [critic(seen)[:, 0] for critic in critics]

    def step(self, name: str, loss: Tensor) -> None:
        """Step one optimiser."""
        self.optimizers[name].zero_grad()
        loss.backward()
        self.optimizers[name].step()

    @torch.no_grad()
    def move_targets(self) -> None:
        """Take a Polyak step."""
        pairs = zip(self.targets.parameters(), self.critics.parameters(), strict=True)
        for old, new in pairs:
            old.lerp_(new, self.config.target_rate)


class PlainSAC(PlainAgent):
    """Soft actor-critic."""

    def __init__(self, config: SACConfig, dims: tuple[int, int], device: str = "cpu") -> None:
        super().__init__(config, dims, config.critic_lr, device)
        actor = perceptron((dims[0], *config.hidden_sizes, 2 * dims[1]))
        self.actor = self.add("actor", actor, config.actor_lr)
        holder = nn.ParameterList([torch.tensor(config.initial_temperature).log()])
        self.log_temperature = self.add("temperature", holder, config.temperature_lr)[0]
        self.target_entropy, self.num_updates = -dims[1], 0

    def policy(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions and their log density."""
        mean, log_std = self.actor(observations).chunk(2, -1)
        low, high = self.config.log_std_bounds
        std = (low + 0.5 * (high - low) * (torch.tanh(log_std) + 1)).exp()
        density = TransformedDistribution(Normal(mean, std), TanhTransform(cache_size=1))
        actions = density.rsample()
        return actions, density.log_prob(actions).sum(-1)

    def update(self, batch: Batch) -> None:
        """Take one step of critics, actor, temperature and targets."""
        temperature = self.log_temperature.exp().detach()
        with torch.no_grad():
            actions, log_prob = self.policy(batch.next_observations)
            value = torch.min(*self.q(self.targets, batch.next_observations, actions))
            following = value - temperature * log_prob
            target = batch.rewards + self.config.discount * (1 - batch.terminated) * following
        found = self.q(self.critics, batch.observations, batch.actions)
        self.step("critics", F.mse_loss(found[0], target) + F.mse_loss(found[1], target))
        actions, log_prob = self.policy(batch.observations)
        lowest = torch.min(*self.q(self.critics, batch.observations, actions))
        self.step("actor", (temperature * log_prob - lowest).mean())
        surprise = (-log_prob - self.target_entropy).detach()
        self.step("temperature", (self.log_temperature.exp() * surprise).mean())
        if self.num_updates % self.config.target_update_every == 0:
            self.move_targets()
        self.num_updates += 1


class PlainPolicy(nn.Module):
    """A tanh mean and one standard deviation per dimension of an action."""

    def __init__(self, hidden_sizes: tuple[int, ...], dims: tuple[int, int]) -> None:
        super().__init__()
        self.mean = perceptron((dims[0], *hidden_sizes, dims[1]), tanh=True)
        self.log_std = nn.Parameter(torch.zeros(dims[1]))

    def forward(self, observations: Tensor) -> Independent:
        """Return the density of actions."""
        return Independent(Normal(self.mean(observations), self.log_std.clamp(-5, 2).exp()), 1)


class PlainIQL(PlainAgent):
    """Implicit Q-learning."""

    def __init__(
        self, config: IQLConfig | IPLConfig, dims: tuple[int, int], device: str = "cpu"
    ) -> None:
        rate, hidden = config.learning_rate, config.hidden_sizes
        super().__init__(config, dims, rate, device)
        self.policy = self.add("policy", PlainPolicy(hidden, dims), rate)
        self.value = self.add("value", perceptron((dims[0], *hidden, 1)), rate)

    def update_value(self, observations: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
        """Take one step of the value and return the lower target."""
        with torch.no_grad():
            target = torch.min(*self.q(self.targets, observations, actions))
        difference = target - self.value(observations)[:, 0]
        share = torch.where(difference < 0, 1 - self.config.expectile, self.config.expectile)
        self.step("value", (weights * share * difference.square()).sum())
        return target

    def update_policy(
        self, observations: Tensor, actions: Tensor, target: Tensor, weights: Tensor
    ) -> None:
        """Take one step of the policy towards actions that are better than the value."""
        with torch.no_grad():
            advantage = target - self.value(observations)[:, 0]
            better = (self.config.inverse_temperature * advantage).exp()
            better = better.clamp(max=self.config.max_weight)
        log_prob = self.policy(observations).log_prob(actions)
        self.step("policy", -(weights * better * log_prob).sum())

    def update(self, batch: OfflineBatch) -> None:
        """Take one step of value, policy, critics and targets."""
        given = batch.transitions
        assert given is not None  # an update of IQL is of transitions
        weights = torch.full_like(given.rewards, 1 / len(given.rewards))
        target = self.update_value(given.observations, given.actions, weights)
        self.update_policy(given.observations, given.actions, target, weights)
        with torch.no_grad():
            following = self.value(given.next_observations)[:, 0]
        wanted = given.rewards + self.config.discount * (1 - given.terminated) * following
        found = self.q(self.critics, given.observations, given.actions)
        self.step("critics", F.mse_loss(found[0], wanted) + F.mse_loss(found[1], wanted))
        self.move_targets()


class PlainIPL(PlainIQL):
    """Inverse preference learning on IQL."""

    def update(self, batch: OfflineBatch) -> None:
        """Take one step of value, critics, policy and targets."""
        pairs, config = batch.pairs, self.config
        assert pairs is not None  # an update of IPL is of pairs
        steps = join_steps(pairs, batch.transitions, config.discount, config.dataset_weight)
        target = self.update_value(steps.observations, steps.actions, steps.weights)
        with torch.no_grad():
            following = self.value(steps.next_observations)[:, 0]
            if config.clip_value:
                bound = 1 / (config.regularizer * (1 - steps.discount))
                following = following.clamp(-bound, bound)
        loss = torch.zeros((), device=self.device)
        for q in self.q(self.critics, steps.observations, steps.actions):
            rewards = q - steps.discount * following
            per_step = rewards[: steps.in_segment.numel()].reshape(steps.in_segment.shape)
            scores = (per_step * steps.in_segment).sum(-1)
            margin = scores[:, 1] - scores[:, 0]
            by_preference = F.binary_cross_entropy_with_logits(margin, pairs.labels)
            by_size = (steps.weights * rewards.square()).sum()
            loss = loss + 0.5 * (by_preference + config.regularizer * by_size)
        self.step("critics", loss)
        self.update_policy(steps.observations, steps.actions, target, steps.weights)
        self.move_targets()


class PlainCPL:
    """Contrastive preference learning after its pre-training, with a policy of fixed variance."""

    def __init__(self, config: CPLConfig, dims: tuple[int, int], device: str = "cpu") -> None:
        self.config, policy = config, config.policy
        sizes = (dims[0], *policy.hidden_sizes, dims[1])
        self.policy = perceptron(sizes, dropout=policy.dropout, tanh=True).to(device)
        rate = config.learning_rate
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=rate)

    def update(self, batch: OfflineBatch) -> Tensor:
        """Take one step on preferences and return the loss."""
        pairs, config = batch.pairs, self.config
        assert pairs is not None  # an update of CPL is of pairs
        segments = pairs.segments
        error = (self.policy(segments.observations) - segments.actions).square().sum(-1)
        score_0, score_1 = (-config.score.scale * (error * segments.mask).sum(-1)).unbind(-1)
        bias, labels = config.loss.bias, pairs.labels
        first = torch.logsumexp(torch.stack([score_0, bias * score_1]), 0) - score_0
        second = torch.logsumexp(torch.stack([score_1, bias * score_0]), 0) - score_1
        loss = ((1 - labels) * first + labels * second).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()
