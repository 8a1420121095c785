import pytest
import torch

from pbrl.offline.fqe import FQEConfig, PolicyValue, evaluate_offline
from pbrl.offline.steps import dataset_steps
from pbrl.replay import ReplayBuffer

CONFIG = FQEConfig(
    discount=0.8, hidden_sizes=(32,), learning_rate=3e-3, batch_size=128, updates=800,
    target_rate=0.05,
)  # fmt: skip


def bandit(terminates):
    """One state; an action pays itself; episodes of ten steps by random actions."""
    generator = torch.Generator().manual_seed(0)
    num_episodes, length = 40, 10
    actions = 2 * torch.rand(num_episodes * length, 1, generator=generator) - 1
    return dataset_steps(
        ReplayBuffer.from_episodes(
            observations=torch.zeros(num_episodes * length, 2),
            actions=actions,
            true_rewards=actions[:, 0].clone(),
            last_observations=torch.zeros(num_episodes, 2),
            lengths=torch.full((num_episodes,), length),
            terminated=torch.full((num_episodes,), terminates),
        )
    )


def always(action):
    return lambda observations: torch.full((len(observations), 1), action)


@pytest.mark.parametrize("action", [0.5, -0.5])
def test_a_policy_is_worth_what_it_would_earn_for_ever(action):
    found = evaluate_offline(
        bandit(terminates=False), always(action), CONFIG, torch.Generator().manual_seed(1)
    )
    assert found.mean == pytest.approx(action / 0.2, abs=0.25)
    assert len(found.members) == 2


def test_nothing_is_earned_after_a_terminal_state():
    steps = bandit(terminates=True)
    found = evaluate_offline(steps, always(0.5), CONFIG, torch.Generator().manual_seed(1))
    # All states look alike, so each step ends the episode with probability 1/10.
    assert found.mean == pytest.approx(0.5 / (1 - 0.8 * 0.9), abs=0.2)


def test_the_same_seed_estimates_the_same():
    config = FQEConfig(hidden_sizes=(8,), updates=5)
    steps, seen = bandit(terminates=False), []
    first, second = (
        evaluate_offline(
            steps, always(0.1), config, torch.Generator().manual_seed(3), on_update=seen.append
        )
        for _ in "ab"
    )
    assert first == second
    assert seen == [1, 2, 3, 4, 5] * 2
    assert PolicyValue((1.0, 2.0)).mean == 1.5


@pytest.mark.parametrize(
    ("field", "value"),
    [("discount", 1.0), ("learning_rate", 0.0), ("target_rate", 0.0), ("hidden_sizes", ()),
     ("batch_size", 0), ("updates", 0), ("members", 0)],
)  # fmt: skip
def test_impossible_numbers_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        FQEConfig(**{field: value})
