from dataclasses import replace

import pytest
import torch

from pbrl.agents.ppo import PPO, PPOConfig
from pbrl.agents.ppo_steps import Judged
from pbrl.agents.protocol import OnlineAgent
from pbrl.agents.state import shorten
from pbrl.batches import Batch, NewestSteps, Rollout

SMALL = PPOConfig(
    hidden_sizes=(16,), value_hidden_sizes=(16,), horizon=8, num_epochs=4, num_minibatches=4
)


def agent(config=SMALL, seed=0):
    return PPO(config, 3, 2, generator=torch.Generator().manual_seed(seed))


def rollout(
    made, seed=0, num_steps=8, num_envs=16, pays=lambda observations, actions: actions[..., 0]
):
    """Steps of the agent's own, of unrelated observations; actions pay at once."""
    draws = torch.Generator().manual_seed(seed)
    observations = 5 + 2 * torch.randn(num_steps, num_envs, 3, generator=draws)
    actions = made.act(observations, False)
    return Rollout(
        observations,
        actions,
        pays(observations, actions),
        observations.roll(-1, 0),
        torch.zeros(num_steps, num_envs),
        is_last=torch.ones(num_steps, num_envs, dtype=torch.bool),
    )


def test_it_is_an_online_agent_that_wants_its_newest_steps():
    made = agent()
    assert isinstance(made, OnlineAgent)
    assert made.batch_steps == NewestSteps(num_steps=8)


def test_actions_lie_inside_and_their_means_begin_near_0():
    made = agent()
    observations = torch.randn(1_000, 3)
    samples, means = made.act(observations, False), made.act(observations, True)
    assert samples.abs().max() <= 1
    assert means.abs().max() < 0.1
    assert 0.5 < samples.std() < 0.8  # tanh of a standard normal: 0.63


def test_densities_before_an_update_are_those_of_acting():
    made = agent()
    made.update(rollout(made))
    assert made.observation_moments.count == 128  # so that the networks see standardised ones
    given = rollout(made, seed=1)
    judged = made._judge(given)
    expected = made.log_prob(given.observations, given.actions).flatten()
    torch.testing.assert_close(judged.log_prob, expected)
    torch.testing.assert_close(judged.inputs, made._inputs(given.observations).flatten(0, 1))
    assert made.observation_moments.count == 128


def test_what_pays_is_done_more_often_and_its_worth_is_learned():
    config = replace(SMALL, learning_rate=5e-3, discount=0.0)

    def learned(sign):
        made = agent(config)
        for step in range(8):
            made.update(rollout(made, step, pays=lambda seen, act: 50 + sign * 10 * act[..., 0]))
        final = rollout(made, 99)
        return made, final

    made, final = learned(1)
    mean = float(final.actions[..., 0].mean())
    assert mean > 0.4
    assert float(made.values(final.observations).detach().mean()) == pytest.approx(
        50 + 10 * mean, abs=2
    )
    _, opposite = learned(-1)
    assert float(opposite.actions[..., 0].mean()) < -0.4


def test_observations_decide_what_is_learned():
    made = agent(replace(SMALL, learning_rate=1e-2, discount=0.0))

    def pays(observations, actions):
        return (observations[..., 0] - 5).sign() * actions[..., 1]

    before = rollout(made, 99, pays=pays).rewards.mean()
    for step in range(15):
        made.update(rollout(made, step, pays=pays))
    assert abs(float(before)) < 0.15
    assert float(rollout(made, 99, pays=pays).rewards.mean()) > 0.4


def test_the_scale_of_rewards_is_of_no_importance():
    first, second = agent(), agent()
    for step in range(4):
        for made, scale in ((first, 1e3), (second, 1e6)):  # values begin near 0
            made.update(rollout(made, step, pays=lambda _, act, by=scale: by * act[..., 0]))
    for one, other in zip(first.actor.parameters(), second.actor.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_steps_are_shuffled_together_and_each_is_seen_once():
    row = torch.arange(10.0)
    steps = Judged(row[:, None], -row[:, None], row, 2 * row, 3 * row)
    order = torch.rand(10, generator=torch.Generator().manual_seed(0)).argsort()
    parts = steps.shuffled(order, 3)
    assert [len(part.targets) for part in parts] == [3, 3, 3]  # one of ten falls
    seen = torch.cat([part.log_prob for part in parts])
    assert torch.equal(seen, order[:9].float())
    for part in parts:
        assert torch.equal(part.inputs[:, 0], part.log_prob)
        assert torch.equal(part.actions[:, 0], -part.log_prob)
        assert torch.equal(part.targets, 3 * part.log_prob)


def test_gradients_are_shortened_over_all_parameters_of_a_seed():
    gradients = [torch.tensor([[3.0], [0.3]]), torch.tensor([[4.0], [0.4]])]
    together = [one[0].clone() for one in gradients]
    shorten(together, 2.5, torch.zeros(()))  # a norm of 5
    assert [float(one) for one in together] == [1.5, 2.0]
    shorten(gradients, 2.5, torch.zeros(2))
    torch.testing.assert_close(gradients[0], torch.tensor([[1.5], [0.3]]))
    torch.testing.assert_close(gradients[1], torch.tensor([[2.0], [0.4]]))
    nothing = [torch.zeros(2)]
    shorten(nothing, 1.0, torch.zeros(()))
    assert nothing[0].tolist() == [0, 0]


def test_a_new_critic_leaves_the_policy_and_forgets_the_returns():
    made = agent()
    made.update(rollout(made))
    policy = {name: value.clone() for name, value in made.actor.state_dict().items()}
    critic = made.critic.state_dict()
    made.reset_critic()
    assert made.return_moments.count == 0
    assert made.observation_moments.count == 128
    assert not made.value_optimizer.state
    assert all(torch.equal(value, policy[name]) for name, value in made.actor.state_dict().items())
    assert not torch.equal(critic["0.weight"], made.critic.state_dict()["0.weight"])


def test_learning_goes_on_bit_for_bit_after_loading():
    made, other = agent(), agent(seed=1)
    made.update(rollout(made))
    other.load_state_dict(made.state_dict())
    other.generator.set_state(made.generator.get_state())
    for one in (made, other):
        one.update(rollout(one, 1))
    for one, copied in zip(made.actor.parameters(), other.actor.parameters(), strict=True):
        assert torch.equal(one, copied)
    assert other.num_updates == 2
    assert torch.equal(made.return_moments.mean, other.return_moments.mean)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_sizes": ()}, "hidden_sizes must be one or more positive widths"),
        ({"horizon": 0}, "horizon must be 1 or above, got 0"),
        ({"clip": 0.0}, "clip must be above 0"),
        ({"trace": 1.1}, r"trace must be in \[0, 1\], got 1.1"),
        ({"log_std_bounds": (1.0, 0.0)}, "log_std_bounds must be increasing"),
    ],
)
def test_impossible_numbers_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        PPOConfig(**changes)


def test_more_minibatches_than_steps_are_refused():
    made = agent()
    with pytest.raises(ValueError, match="at most the 2 steps of an update, got 4"):
        made.update(rollout(made, num_steps=1, num_envs=2))


def test_transitions_in_no_order_are_refused():
    given = vars(rollout(agent()))
    given.pop("is_last")
    with pytest.raises(TypeError, match="learns from a Rollout of its own steps, got Batch"):
        agent().update(Batch(**given))
