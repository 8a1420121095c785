"""State values for labels by regret: an oracle's critics, or a network fitted to a dataset."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from pbrl.agents.sac import SAC
from pbrl.agents.tanh_gaussian import squash
from pbrl.checks import check_fields
from pbrl.networks import mlp
from pbrl.offline.steps import DatasetSteps, discounted_to_go

ValueFunction = Callable[[Tensor], Tensor]
"""Maps observations `[batch, obs]` to values `[batch]`, however many there are."""

SAMPLED_ACTIONS = 64  # Hejna et al. 2024, scripts/add_pref_labels.py
_CHUNK = 16_384  # rows of one pass through a network
_STILL = 1e-6  # standard deviation of an observed number that never changes


def sac_value(
    agent: SAC, generator: torch.Generator, num_actions: int = SAMPLED_ACTIONS
) -> ValueFunction:
    """Return CPL's V of an oracle: the mean over sampled actions of the mean of the two critics.

    Without the entropy term, as in `scripts/add_pref_labels.py` of Hejna et al. 2024.

    Args:
        agent: trained on the true reward.
        generator: draws the actions.
        num_actions: actions per state.
    """

    @torch.no_grad()
    def value(observations: Float[Tensor, "batch obs"]) -> Float[Tensor, " batch"]:
        parts = observations.split(max(1, _CHUNK // num_actions))
        return torch.cat([_mean_q(agent, part, generator, num_actions) for part in parts])

    return value


def _mean_q(
    agent: SAC, observations: Tensor, generator: torch.Generator, num_actions: int
) -> Tensor:
    mean, log_std = agent.distribution(observations)
    shape = (num_actions, *mean.shape)
    noise = torch.randn(shape, generator=generator, device=generator.device).to(mean.device)
    actions, _ = squash(mean.expand(shape), log_std.expand(shape), noise)
    seen = observations.expand(num_actions, -1, -1)
    q = agent.q_values(seen.flatten(0, 1), actions.flatten(0, 1))  # [critic, action * batch]
    return q.view(len(q), num_actions, len(observations)).mean((0, 1))


@dataclass(frozen=True, kw_only=True)
class ValueConfig:
    """A regression of discounted returns on observations. The sizes are ours.

    Attributes:
        discount: gamma, in [0, 1).
        hidden_sizes: widths of the hidden layers.
        learning_rate: of Adam, above 0.
        batch_size: steps per update.
        updates: gradient steps.
        rounds: how often the value beyond the end of truncated episodes is computed anew.
        held_out: share of the episodes that only measure the fit, in [0, 1).
    """

    discount: float = 0.99
    hidden_sizes: tuple[int, ...] = (256, 256)
    learning_rate: float = 1e-3
    batch_size: int = 512
    updates: int = 2_000
    rounds: int = 5
    held_out: float = 0.1

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("discount", "in [0, 1)", 0 <= self.discount < 1),
            ("hidden_sizes", "positive widths", min(self.hidden_sizes, default=0) >= 1),
            ("learning_rate", "above 0", self.learning_rate > 0),
            ("batch_size", "at least 1", self.batch_size >= 1),
            ("rounds", "between 1 and updates", 1 <= self.rounds <= self.updates),
            ("held_out", "in [0, 1)", 0 <= self.held_out < 1),
        )


class FittedValue(nn.Module):
    """V of whoever acted in a dataset: a perceptron of standardised observations.

    The target of a step is the discounted sum of true rewards until the end of its episode, plus,
    where the episode was cut off, the discounted value of its last observation. That value is at
    first the last reward for ever, later the network's own.

    Args:
        steps: the data.
        config: the regression.
        generator: draws parameters, held-out episodes and batches; on the data's device.
        on_update: called with the number of gradient steps taken.

    Attributes:
        explained_variance: 1 - Var(target - V) / Var(target) over the held-out episodes, or over
            all if none are held out.
    """

    def __init__(
        self,
        steps: DatasetSteps,
        config: ValueConfig,
        generator: torch.Generator,
        on_update: Callable[[int], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self.config = config
        sizes = (steps.observations.shape[1], *config.hidden_sizes, 1)
        self.layers = mlp(sizes, generator=generator)
        self._mean = steps.observations.mean(0)
        std = steps.observations.std(0)
        self._std = torch.where(std > _STILL, std, 1.0)
        self._to_go = discounted_to_go(steps.true_rewards, steps.steps_left, config.discount)
        last_rewards = steps.true_rewards[steps.is_last]
        targets = self._targets(steps, last_rewards / (1 - config.discount))
        self._offset = targets.mean()
        self._scale = targets.std(unbiased=False).clamp(min=_STILL)
        self.explained_variance = self._fit(steps, targets, generator, on_update)

    @torch.no_grad()
    def forward(self, observations: Float[Tensor, "batch obs"]) -> Float[Tensor, " batch"]:
        """Return the values, in chunks."""
        parts = [self._standard(part) for part in observations.split(_CHUNK)]
        return torch.cat(parts) * self._scale + self._offset

    def _standard(self, observations: Tensor) -> Tensor:
        """Return the network's output: values in units of the first targets' spread."""
        value: Tensor = self.layers((observations - self._mean) / self._std)
        return value.squeeze(-1)

    def _targets(self, steps: DatasetSteps, beyond: Float[Tensor, " episode"]) -> Tensor:
        """Return a target per step, given the value after each episode's last step."""
        beyond = torch.where(steps.terminated, 0.0, beyond).double()[steps.episode]
        return (self._to_go + self.config.discount**steps.steps_left * beyond).float()

    def _fit(
        self,
        steps: DatasetSteps,
        targets: Tensor,
        generator: torch.Generator,
        on_update: Callable[[int], None],
    ) -> float:
        config = self.config
        optimizer = torch.optim.Adam(self.parameters(), lr=config.learning_rate)
        learning, held_out = _split(steps, config.held_out, generator)
        for update in range(config.updates):
            if update and update % (config.updates // config.rounds) == 0:
                targets = self._targets(steps, self(steps.last_observations))
            batch = _draw(learning, config.batch_size, generator)
            standard = (targets[batch] - self._offset) / self._scale
            loss = F.mse_loss(self._standard(steps.observations[batch]), standard)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            on_update(update + 1)
        rows = held_out if len(held_out) else learning
        error = targets[rows] - self(steps.observations[rows])
        spread = targets[rows].var(unbiased=False).clamp(min=_STILL**2)
        return float(1 - error.var(unbiased=False) / spread)


def _split(
    steps: DatasetSteps, held_out: float, generator: torch.Generator
) -> tuple[Int[Tensor, " learning"], Int[Tensor, " held_out"]]:
    """Return the rows of the episodes to learn from and of those held out."""
    num_episodes = len(steps.lengths)
    order = torch.randperm(num_episodes, generator=generator, device=generator.device)
    is_held_out = torch.zeros(num_episodes, dtype=torch.bool)
    is_held_out[order[: int(held_out * num_episodes)].cpu()] = True
    rows = is_held_out.to(steps.episode.device)[steps.episode]
    return (~rows).nonzero()[:, 0], rows.nonzero()[:, 0]


def _draw(rows: Tensor, number: int, generator: torch.Generator) -> Tensor:
    places = torch.randint(len(rows), (number,), generator=generator, device=generator.device)
    return rows[places.to(rows.device)]
