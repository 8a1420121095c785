import math
from dataclasses import replace

import pytest
import torch

from pbrl.agents.iql import IQL, IQLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.pairs import OfflineBatch
from pbrl.replay import Batch

SMALL = IQLConfig(policy=PolicyConfig(hidden_sizes=(32,)), hidden_sizes=(32,), batch_size=64)


def agent(config=SMALL, observation_dim=3, action_dim=2, seed=0):
    return IQL(config, observation_dim, action_dim, generator=torch.Generator().manual_seed(seed))


def batch(size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=generator) * 2 - 1

    return Batch(draw(size, 3), draw(size, 2), draw(size), draw(size, 3), torch.zeros(size))


def count(*modules):
    return sum(p.numel() for m in modules for p in m.parameters())


@pytest.mark.parametrize(
    ("dims", "hidden", "num_parameters"),
    [
        ((39, 4), (256, 256, 256), 571_147),  # Meta-World
        ((39, 4), (64, 64), 27_851),
        ((39, 4), (35, 35), 11_176),
        ((11, 3), (256, 256), 278_537),  # hopper
        ((17, 6), (256, 256), 286_991),  # walker2d
        ((49, 7), (256, 256), 320_529),  # lift
        ((53, 7), (256, 256), 324_625),  # can
    ],
)
def test_the_sizes_of_the_sheet(dims, hidden, num_parameters):
    made = agent(IQLConfig(policy=PolicyConfig(hidden_sizes=hidden), hidden_sizes=hidden), *dims)
    assert count(made.policy, made.critic, made.value) == num_parameters


def test_every_network_learns_and_the_target_follows_slowly():
    made = agent(replace(SMALL, target_rate=0.1))
    names = ("policy", "critic", "target_critic", "value")
    before = {n: {k: v.clone() for k, v in getattr(made, n).state_dict().items()} for n in names}
    metrics = made.update(OfflineBatch(transitions=batch()))
    assert all(not value.requires_grad and value.isfinite() for value in metrics.values())
    for name in names:
        for key, value in getattr(made, name).state_dict().items():
            assert not torch.equal(value, before[name][key]), (name, key)
    for key, value in made.target_critic.state_dict().items():
        expected = torch.lerp(before["target_critic"][key], made.critic.state_dict()[key], 0.1)
        torch.testing.assert_close(value, expected)


def test_weights_that_sum_to_one_are_the_mean():
    first, second = agent(), agent()
    first.learn(batch())
    second.learn(batch(), torch.full((64,), 1 / 64))
    torch.testing.assert_close(first.value.state_dict(), second.value.state_dict())


def test_transitions_of_weight_zero_do_not_count():
    first, second = agent(), agent()
    half = Batch(*(getattr(batch(), name)[:32] for name in Batch.__dataclass_fields__))
    first.learn(half)
    second.learn(batch(), torch.cat([torch.full((32,), 1 / 32), torch.zeros(32)]))
    torch.testing.assert_close(first.critic.state_dict(), second.critic.state_dict())
    torch.testing.assert_close(first.policy.state_dict(), second.policy.state_dict())


def test_the_better_of_two_actions_is_learned_in_one_step_episodes():
    """Without a next step IQL regresses on the actions that pay more than the value."""
    config = replace(SMALL, learning_rate=3e-3, inverse_temperature=10.0, expectile=0.9)
    made = agent(config, 1, 1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(400):
        seen = torch.rand(64, 1, generator=generator) * 2 - 1
        done = torch.where(torch.rand(64, 1, generator=generator) < 0.5, 0.5, -0.5)
        paid = (done * seen.sign()).squeeze(-1)  # +0.5 on the right, -0.5 on the left
        ended = torch.ones(64)
        made.update(OfflineBatch(transitions=Batch(seen, done, paid, seen, ended)))
    acted = made.act(torch.tensor([[0.7], [-0.7]]), deterministic=True).squeeze(-1)
    torch.testing.assert_close(acted, torch.tensor([0.5, -0.5]), atol=0.15, rtol=0)


def test_a_regressed_actor_minimises_the_squared_error():
    config = replace(
        SMALL,
        policy=PolicyConfig(kind="fixed-variance", hidden_sizes=(32,)),
        inverse_temperature=0.0,
        learning_rate=1e-2,
        policy_decay_updates=None,
    )
    made = agent(config)
    given = replace(batch(), actions=torch.full((64, 2), 0.3))
    for _ in range(200):
        loss = made.update(OfflineBatch(transitions=given))["policy_loss"]
    assert loss < 1e-3


def test_the_rate_of_the_policy_falls_along_a_cosine_and_the_others_stay():
    made = agent(replace(SMALL, policy_decay_updates=4, learning_rate=1e-3))
    rates = []
    for _ in range(6):
        made.update(OfflineBatch(transitions=batch()))
        rates.append(made.policy_optimizer.param_groups[0]["lr"])
    expected = [1e-3 * 0.5 * (1 + math.cos(math.pi * i / 4)) for i in range(5)] + [0.0]
    assert rates == pytest.approx(expected)
    assert made.value_optimizer.param_groups[0]["lr"] == 1e-3


def test_learning_goes_on_bit_for_bit_from_a_stored_state():
    config = replace(SMALL, policy=PolicyConfig(hidden_sizes=(32,), dropout=0.1))
    whole, first, second = agent(config), agent(config), agent(config, seed=9)
    for step in range(6):
        whole.update(OfflineBatch(transitions=batch(seed=step)))
    for step in range(3):
        first.update(OfflineBatch(transitions=batch(seed=step)))
    second.load_state_dict(first.state_dict())
    second.generator.set_state(first.generator.get_state())
    for step in range(3, 6):
        second.update(OfflineBatch(transitions=batch(seed=step)))
    for key, value in whole.policy.state_dict().items():
        assert torch.equal(value, second.policy.state_dict()[key])
    assert first.num_updates == 3  # the giver is left alone


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expectile": 1.0}, "expectile must be in"),
        ({"inverse_temperature": -1.0}, "inverse_temperature must be 0 or above"),
        ({"policy_decay_updates": 0}, "policy_decay_updates must be at least 1"),
        ({"num_critics": 0}, "num_critics must be at least 1"),
        ({"discount": 1.5}, "discount must be in"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


def test_a_batch_without_transitions_is_refused():
    with pytest.raises(ValueError, match="transitions=64"):
        agent().update(OfflineBatch())
