"""A double integrator in the plane: its control, its behaviour data and labels of exact regret.

The state is a position and a velocity, x' = A x + B a with steps of 0.1; an episode has 64 of them,
from rest at a place in [-1, 1]^2; the reward is -(x' diag(1, 1, .1, .1) x + 0.01 |a|^2).
"""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from pbrl.pairs import ScoredSegments
from pbrl.replay import ReplayBuffer

STEPS = 64
DISCOUNT = 0.99
STEP_SIZE = 0.1
COSTS = (1.0, 1.0, 0.1, 0.1)
ACTION_COST = 0.01
NUM_EPISODES, NUM_SEGMENTS, SEGMENT_STEPS = 400, 2500, 16
GAIN, DRIFT, NOISE = 0.15, 0.3, 0.6  # of the behaviour
OBSERVATION_DIM, ACTION_DIM = 4, 2

Policy = Callable[[Tensor], Tensor]


def dynamics() -> tuple[Tensor, Tensor]:
    """Return A and B."""
    one, none = torch.eye(2), torch.zeros(2, 2)
    transition = torch.cat([torch.cat([one, STEP_SIZE * one], 1), torch.cat([none, one], 1)])
    control = torch.cat([STEP_SIZE**2 * one, STEP_SIZE * one])
    return transition, control


@cache
def linear_quadratic_regulator() -> tuple[Tensor, Tensor]:
    """Return the gain K of the best action -K x and P of the value -x' P x, bounds left aside."""
    transition, control = (part.double() for part in dynamics())
    cost = torch.diag(torch.tensor(COSTS, dtype=torch.float64))
    value = cost.clone()
    for _ in range(1_000):
        weighted = DISCOUNT * control.T @ value
        of_action = ACTION_COST * torch.eye(ACTION_DIM, dtype=torch.float64) + weighted @ control
        gain = torch.linalg.solve(of_action, weighted @ transition)
        value = cost + DISCOUNT * transition.T @ value @ (transition - control @ gain)
    return gain.float(), value.float()


def rewards_of(states: Tensor, actions: Tensor) -> Tensor:
    """Return the reward of each step."""
    costs = torch.tensor(COSTS)
    return -((costs * states.square()).sum(-1) + ACTION_COST * actions.square().sum(-1))


def roll_out(policy: Policy, num_episodes: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return `states` [episode, step + 1, obs], `actions` and `rewards` of whole episodes."""
    transition, control = dynamics()
    start = 2 * torch.rand(num_episodes, 2, generator=generator) - 1
    states = [torch.cat([start, torch.zeros(num_episodes, 2)], 1)]
    actions = []
    for _ in range(STEPS):
        actions.append(policy(states[-1]).clamp(-1, 1))
        states.append(states[-1] @ transition.T + actions[-1] @ control.T)
    seen, done = torch.stack(states, 1), torch.stack(actions, 1)
    return {"states": seen, "actions": done, "rewards": rewards_of(seen[:, :-1], done)}


def mean_return(policy: Policy, num_episodes: int = 400) -> float:
    """Return the mean undiscounted return over the same starting places for everybody."""
    episodes = roll_out(policy, num_episodes, torch.Generator().manual_seed(1_000))
    return float(episodes["rewards"].sum(1).mean())


def behaviour(generator: torch.Generator | None) -> Policy:
    """Return the policy of the data, a weak regulator that drifts; with noise if it can draw."""
    gain, _ = linear_quadratic_regulator()

    def act(states: Tensor) -> Tensor:
        mean = -GAIN * states @ gain.T + DRIFT
        if generator is not None:
            mean = mean + NOISE * torch.empty_like(mean).normal_(generator=generator)
        return mean

    return act


def best(states: Tensor) -> Tensor:
    """Return the actions of the regulator."""
    gain, _ = linear_quadratic_regulator()
    return -states @ gain.T


def make_data(generator: torch.Generator) -> tuple[ReplayBuffer, ScoredSegments]:
    """Return the behaviour's episodes, and segments of them scored by minus their exact regret.

    The score of a segment is the sum of r + gamma V(s') - V(s), each step's advantage.
    """
    episodes = roll_out(behaviour(generator), NUM_EPISODES, generator)
    states, rewards = episodes["states"], episodes["rewards"]
    replay = ReplayBuffer.from_episodes(
        observations=states[:, :-1].flatten(0, 1),
        actions=episodes["actions"].flatten(0, 1),
        true_rewards=rewards.flatten(),
        last_observations=states[:, -1],
        lengths=torch.full((NUM_EPISODES,), STEPS),
        terminated=torch.zeros(NUM_EPISODES, dtype=torch.bool),
    )
    _, matrix = linear_quadratic_regulator()
    values = -torch.einsum("eti,ij,etj->et", states, matrix, states)
    advantages = rewards + DISCOUNT * values[:, 1:] - values[:, :-1]
    index = replay.sample_segments(NUM_SEGMENTS, SEGMENT_STEPS, generator)
    steps = index.start[:, None] + torch.arange(SEGMENT_STEPS)
    return replay, ScoredSegments(index, advantages[index.episode[:, None], steps].sum(1))
