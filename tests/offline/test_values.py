import pytest
import torch

from pbrl.agents.sac import SAC, SACConfig
from pbrl.offline.steps import dataset_steps
from pbrl.offline.values import FittedValue, ValueConfig, sac_value
from pbrl.replay import ReplayBuffer

DISCOUNT = 0.9
CONFIG = ValueConfig(
    discount=DISCOUNT, hidden_sizes=(32,), learning_rate=1e-2, batch_size=64, updates=600, rounds=6
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def constant_reward(terminates, num_episodes=20, length=30):
    """The position on a line moves by 0.1 a step; every step is worth 1."""
    total = num_episodes * length
    start = torch.rand(num_episodes, 1, generator=generator(1))
    positions = start + 0.1 * torch.arange(length + 1)  # [episode, time]
    return dataset_steps(
        ReplayBuffer.from_episodes(
            observations=positions[:, :-1].reshape(total, 1),
            actions=torch.zeros(total, 1),
            true_rewards=torch.ones(total),
            last_observations=positions[:, -1:],
            lengths=torch.full((num_episodes,), length),
            terminated=torch.full((num_episodes,), terminates),
        )
    )


def test_what_is_cut_off_is_worth_as_much_as_what_goes_on():
    value = FittedValue(constant_reward(terminates=False), CONFIG, generator())
    found = value(torch.tensor([[0.0], [1.5], [3.0]]))
    torch.testing.assert_close(found, torch.full((3,), 10.0), atol=0.05, rtol=0)  # 1 / (1 - gamma)


def test_the_value_falls_towards_a_terminal_state():
    steps = constant_reward(terminates=True)
    value = FittedValue(steps, CONFIG, generator())
    assert value.explained_variance > 0.9
    for left in (1, 5, 20):
        row = int((steps.steps_left == left).nonzero()[0])
        expected = (1 - DISCOUNT**left) / (1 - DISCOUNT)
        assert float(value(steps.observations[[row]])[0]) == pytest.approx(expected, abs=1.0)


def test_every_gradient_step_is_told():
    config = ValueConfig(discount=DISCOUNT, hidden_sizes=(8,), updates=5, rounds=2)
    told = []
    FittedValue(constant_reward(terminates=True), config, generator(), told.append)
    assert told == [1, 2, 3, 4, 5]


def test_the_same_seed_fits_the_same_values():
    steps = constant_reward(terminates=True)
    config = ValueConfig(discount=DISCOUNT, hidden_sizes=(8,), updates=5, rounds=2)
    first, second = (FittedValue(steps, config, generator(3))(steps.observations) for _ in "ab")
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    ("field", "value"),
    [("discount", 1.0), ("hidden_sizes", ()), ("learning_rate", 0.0), ("batch_size", 0),
     ("rounds", 0), ("updates", 3), ("held_out", 1.0)],
)  # fmt: skip
def test_impossible_numbers_are_refused(field, value):
    with pytest.raises(ValueError, match="rounds" if field == "updates" else field):
        ValueConfig(**{field: value})


def test_an_oracle_is_worth_the_mean_over_actions_of_the_mean_of_its_critics():
    agent = SAC(SACConfig(hidden_sizes=(16,)), 3, 2, generator=generator())
    observations = torch.randn(5, 3, generator=generator(1))
    found = sac_value(agent, generator(2), num_actions=7)(observations)
    mean, log_std = agent.actor(observations)
    noise = torch.randn(7, 5, 2, generator=generator(2))
    actions = torch.tanh(mean + log_std.exp() * noise)
    total = torch.zeros(5)
    for sample in actions:
        inputs = torch.cat([observations, sample], -1)
        total += agent.critic(inputs[None]).squeeze(-1).mean(0)
    torch.testing.assert_close(found, total / 7, atol=1e-5, rtol=1e-5)


def test_more_actions_bring_the_oracle_nearer_to_its_expectation():
    agent = SAC(SACConfig(hidden_sizes=(16,)), 3, 2, generator=generator())
    observations = torch.randn(50, 3, generator=generator(1))
    few = [sac_value(agent, generator(seed), 4)(observations) for seed in range(8)]
    many = [sac_value(agent, generator(seed), 400)(observations) for seed in range(8)]
    assert torch.stack(many).std(0).mean() < 0.3 * torch.stack(few).std(0).mean()
    assert sac_value(agent, generator(), 64)(observations[:0]).shape == (0,)
