"""The value of a policy from data alone: fitted Q evaluation (Le et al. 2019, algorithm 3)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from pbrl.networks import EnsembleMLP
from pbrl.offline.steps import DatasetSteps

Policy = Callable[[Tensor], Tensor]
"""Maps observations `[batch, obs]` to actions `[batch, act]` in [-1, 1]."""

_STILL = 1e-6
_INITIAL_STATES = 4_096  # at most so many episodes' first states are averaged over


@dataclass(frozen=True, kw_only=True)
class FQEConfig:
    """A small fitted Q evaluation. The sizes are ours.

    Attributes:
        discount: gamma, in [0, 1).
        hidden_sizes: widths of the hidden layers.
        learning_rate: of Adam, above 0.
        batch_size: transitions per update.
        updates: gradient steps.
        target_rate: step of the target network towards the other, in (0, 1].
        members: networks; how far they differ hints at how far to trust the estimate.
    """

    discount: float = 0.99
    hidden_sizes: tuple[int, ...] = (256, 256)
    learning_rate: float = 3e-4
    batch_size: int = 256
    updates: int = 10_000
    target_rate: float = 0.005
    members: int = 2

    def __post_init__(self) -> None:
        for name, legal, holds in (
            ("discount", "in [0, 1)", 0 <= self.discount < 1),
            ("learning_rate", "above 0", self.learning_rate > 0),
            ("target_rate", "in (0, 1]", 0 < self.target_rate <= 1),
            ("hidden_sizes", "positive widths", min(self.hidden_sizes, default=0) >= 1),
            (
                "batch_size, updates and members",
                "at least 1",
                min(self.batch_size, self.updates, self.members) >= 1,
            ),
        ):
            if not holds:
                value = getattr(self, name.partition(",")[0])
                raise ValueError(f"{name} must be {legal}, got {value!r}")


@dataclass(frozen=True)
class PolicyValue:
    """An estimate of the discounted return of a policy from the first states of the episodes.

    Attributes:
        members: the estimate of each network.
    """

    members: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the networks."""
        return sum(self.members) / len(self.members)


def evaluate_offline(
    steps: DatasetSteps,
    policy: Policy,
    config: FQEConfig,
    generator: torch.Generator,
    on_update: Callable[[int], None] | None = None,
) -> PolicyValue:
    """Return what a policy is worth by the data of others.

    Q(s, a) is regressed onto r + gamma Q'(s', pi(s')), with the true rewards; nothing is
    bootstrapped after a terminal state, and the end of a time limit is none. The estimate goes on
    for ever where a roll-out is cut off, and is as good as the data cover what the policy does.

    Args:
        steps: the data; the observations after the last actions must be known.
        policy: whose value; deterministic, or drawing what it needs itself.
        config: the regression.
        generator: draws parameters and batches; on the data's device.
        on_update: called with the number of updates done.
    """
    sizes = (steps.observations.shape[1] + steps.actions.shape[1], *config.hidden_sizes, 1)
    q, target = (EnsembleMLP(config.members, sizes, generator=generator) for _ in range(2))
    target.load_state_dict(q.state_dict())
    parameters: list[Tensor] = list(q.parameters())
    targets: list[Tensor] = list(target.parameters())
    optimizer = torch.optim.Adam(parameters, lr=config.learning_rate)
    mean, std = steps.observations.mean(0), steps.observations.std(0)
    std = torch.where(std > _STILL, std, 1.0)
    # Rewards are scaled so that values are of order one.
    scale = (1 - config.discount) / steps.true_rewards.square().mean().sqrt().clamp(min=_STILL)
    terminates = steps.is_last & steps.terminated[steps.episode]

    def value(network: EnsembleMLP, observations: Tensor, actions: Tensor) -> Tensor:
        inputs = torch.cat([(observations - mean) / std, actions], -1)
        outputs: Tensor = network(inputs.unsqueeze(0))
        return outputs.squeeze(-1)  # [member, batch]

    for update in range(config.updates):
        batch = torch.randint(
            len(steps), (config.batch_size,), generator=generator, device=generator.device
        )
        with torch.no_grad():
            following = steps.next_observations(batch)
            beyond = value(target, following, policy(following))
            goes_on = (~terminates[batch]).float()
            goal = scale * steps.true_rewards[batch] + config.discount * goes_on * beyond
        found = value(q, steps.observations[batch], steps.actions[batch])
        loss = F.mse_loss(found, goal, reduction="none").mean(1).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(targets, parameters, config.target_rate)
        if on_update is not None:
            on_update(update + 1)
    with torch.no_grad():
        initial = _first_observations(steps)
        estimates = value(q, initial, policy(initial)).mean(1) / scale
    return PolicyValue(tuple(estimates.tolist()))


def _first_observations(steps: DatasetSteps) -> Float[Tensor, "episode obs"]:
    rows = steps.first_rows
    stride = -(-len(rows) // _INITIAL_STATES)
    return steps.observations[rows[::stride]]
