"""Segments of which one step alone is paid, to learn a reward from with a prior over steps."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pbrl.hindsight import redistribution_loss
from pbrl.preference import logistic_loss
from pbrl.rewards import RewardConfig, RewardEnsemble

Importance = Literal["oracle", "uniform", "random"]
NUM_LABELS, NUM_UNSEEN, STEPS = 40, 500, 20
UPDATES, LEARNING_RATE = 600, 9e-4
HIDDEN_SIZES = (64, 64)


class Recovered(NamedTuple):
    """What learned rewards came to, each figure one per seed.

    Attributes:
        accuracy: share of unseen pairs that they put in order.
        correlation: Pearson's, with the true reward of each step of these pairs.
    """

    accuracy: Tensor
    correlation: Tensor


class Events(NamedTuple):
    """Pairs of segments; a state is (whether it is the event, what the event would pay, 0, 0).

    Attributes:
        states: `[seed, pair, two, time, 4]`.
        rewards: `[seed, pair, two, time]`, 0 but for the event.
    """

    states: Tensor
    rewards: Tensor


def make_events(seeds: int, generator: torch.Generator) -> Events:
    """Return pairs to learn from and behind them pairs to judge by; noise in the other numbers."""
    shape = (seeds, NUM_LABELS + NUM_UNSEEN, 2)
    states = torch.randn(*shape, STEPS, 4, generator=generator)
    event = torch.randint(STEPS, (*shape, 1), generator=generator)
    states[..., 0] = 0.0
    states[..., 0].scatter_(-1, event, 1.0)
    states[..., 1] = 2 * torch.rand(*shape, STEPS, generator=generator) - 1
    return Events(states, states[..., 0] * states[..., 1])


def learn(
    weight: float,
    importance: Importance = "oracle",
    *,
    detach: bool = True,
    seeds: int = 4,
    seed: int = 0,
) -> Recovered:
    """Return what a reward comes to that is learned from 40 labels with the term of the prior.

    Each member of an ensemble is a seed, with data of its own.

    Args:
        weight: of the term; 0 leaves it out.
        importance: what the term holds the rewards to.
        detach: see `redistribution_loss`.
        seeds: how many.
        seed: of all of them together.
    """
    generator = torch.Generator().manual_seed(seed)
    states, rewards = make_events(seeds, generator)
    returns = rewards.sum(-1)
    labels = (returns[..., 1] > returns[..., 0]).float()
    alpha = _importance(importance, states, generator)
    network = RewardConfig(num_members=seeds, hidden_sizes=HIDDEN_SIZES)
    ensemble = RewardEnsemble(network, 2, 2, generator=generator)
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=LEARNING_RATE, fused=True)
    mask = torch.ones(STEPS, dtype=torch.bool)
    seen = slice(NUM_LABELS)
    for _ in range(UPDATES):
        predicted = ensemble.evaluate(states[:, seen])
        margin = predicted.sum(-1).diff(dim=-1)[..., 0]
        loss = logistic_loss(margin, labels[:, seen]).mean(1)
        if weight:
            term = redistribution_loss(predicted, alpha[:, seen], mask, detach=detach)
            loss = loss + weight * term.mean((1, 2))
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    return _judge(ensemble, states[:, NUM_LABELS:], rewards[:, NUM_LABELS:])


def _importance(kind: Importance, states: Tensor, generator: torch.Generator) -> Tensor:
    match kind:
        case "oracle":
            return states[..., 0]
        case "uniform":
            return torch.full(states.shape[:-1], 1.0 / STEPS)
        case "random":
            return torch.randn(states.shape[:-1], generator=generator).softmax(-1)


@torch.no_grad()
def _judge(ensemble: RewardEnsemble, states: Tensor, rewards: Tensor) -> Recovered:
    predicted = ensemble.evaluate(states)
    order, true_order = (part.sum(-1).diff(dim=-1)[..., 0] > 0 for part in (predicted, rewards))
    one, other = (part.flatten(1).double() for part in (predicted, rewards))
    one, other = one - one.mean(1, keepdim=True), other - other.mean(1, keepdim=True)
    correlation = (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1))
    return Recovered((order == true_order).double().mean(1), correlation)
