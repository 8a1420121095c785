import copy
import dataclasses

import pytest
import torch
from torch import distributions, nn
from torch.nn import functional as F

from pbrl.agents.sac import SAC, SACConfig
from pbrl.replay import Batch

OBS, ACT = 5, 2


def make_agent(seed: int = 0, **config) -> SAC:
    config = {"hidden_sizes": (32, 32), **config}
    generator = torch.Generator().manual_seed(seed)
    return SAC(SACConfig(**config), OBS, ACT, generator=generator)


def make_batch(seed: int = 0, size: int = 64) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return Batch(
        observations=normal(size, OBS),
        actions=normal(size, ACT).tanh(),
        rewards=normal(size),
        next_observations=normal(size, OBS),
        terminated=(normal(size) > 1.0).float(),
    )


def parameters(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


class PlainSAC:
    """The same algorithm with two separate critics, torch's distributions and plain Adam."""

    def __init__(self, agent: SAC) -> None:
        self.generator = torch.Generator()
        self.generator.set_state(agent.generator.get_state())
        self.actor = copy.deepcopy(agent.actor)
        self.critics = nn.ModuleList(self.single(agent.critic, member) for member in (0, 1))
        self.targets = copy.deepcopy(self.critics)
        self.log_temperature = agent.log_temperature.detach().clone().requires_grad_()
        config = agent.config
        self.config = config
        self.optimisers = [
            torch.optim.Adam(self.critics.parameters(), config.critic_lr),
            torch.optim.Adam(self.actor.parameters(), config.actor_lr),
            torch.optim.Adam([self.log_temperature], config.temperature_lr),
        ]

    @staticmethod
    def single(critic: nn.Module, member: int) -> nn.Sequential:
        layers = []
        for weight, bias in zip(*[iter(critic.parameters())] * 2, strict=True):
            linear = nn.Linear(weight.shape[1], weight.shape[2])
            linear.weight.data = weight.data[member].T.clone()
            linear.bias.data = bias.data[member, 0].clone()
            layers += [linear, nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def sample(self, observations):
        mean, log_std = self.actor(observations)
        noise = torch.randn(mean.shape, generator=self.generator)
        transform = distributions.TanhTransform(cache_size=1)
        actions = transform(mean + log_std.exp() * noise)
        base = distributions.Normal(mean, log_std.exp())
        policy = distributions.TransformedDistribution(base, [transform])
        return actions, policy.log_prob(actions).sum(-1)

    def value(self, critics, observations):
        actions, log_prob = self.sample(observations)
        inputs = torch.cat([observations, actions], -1)
        q_0, q_1 = (critic(inputs).squeeze(-1) for critic in critics)
        return torch.min(q_0, q_1) - self.log_temperature.exp().detach() * log_prob, log_prob

    def step(self, optimiser, loss):
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def update(self, batch: Batch, update_target: bool) -> None:
        with torch.no_grad():
            value, _ = self.value(self.targets, batch.next_observations)
            target = batch.rewards + self.config.discount * (1 - batch.terminated) * value
        inputs = torch.cat([batch.observations, batch.actions], -1)
        loss = sum(F.mse_loss(critic(inputs).squeeze(-1), target) for critic in self.critics)
        self.step(self.optimisers[0], loss)
        value, log_prob = self.value(self.critics, batch.observations)
        self.step(self.optimisers[1], -value.mean())
        surplus = (-log_prob - (-ACT)).detach()
        self.step(self.optimisers[2], (self.log_temperature.exp() * surplus).mean())
        if update_target:
            pairs = zip(self.targets.parameters(), self.critics.parameters(), strict=True)
            for target_parameter, parameter in pairs:
                target_parameter.data.mul_(1 - self.config.target_rate)
                target_parameter.data.add_(self.config.target_rate * parameter.data)


# 160 x 160 with 160 rows is multiplied in oneDNN, the small sizes are not.
@pytest.mark.parametrize(("width", "size"), [(16, 32), (160, 160)])
def test_updates_equal_a_plain_unbatched_implementation(width, size):
    agent = make_agent(hidden_sizes=(width, width), initialization="torch")
    plain = PlainSAC(agent)
    for step in range(4):
        agent.update(make_batch(step, size))
        plain.update(make_batch(step, size), update_target=step % 2 == 0)
    tolerance = {"rtol": 1e-3, "atol": 2e-5}  # Adam divides by gradients near zero
    torch.testing.assert_close(parameters(agent.actor), parameters(plain.actor), **tolerance)
    torch.testing.assert_close(agent.log_temperature, plain.log_temperature, **tolerance)
    for ours, theirs in (
        (agent.critic, plain.critics),
        (agent.target_critic, plain.targets),
    ):
        for member in (0, 1):
            single = PlainSAC.single(ours, member)
            torch.testing.assert_close(parameters(single), parameters(theirs[member]), **tolerance)


def test_metrics_are_detached_scalars():
    metrics = make_agent().update(make_batch())
    assert set(metrics) >= {"critic_loss", "actor_loss", "temperature_loss", "temperature"}
    for value in metrics.values():
        assert value.shape == ()
        assert not value.requires_grad


def test_terminal_states_stop_bootstrapping():
    agent, batch = make_agent(), make_batch()
    ended = dataclasses.replace(batch, terminated=torch.ones(64))
    metrics = agent.update_critic(ended)
    torch.testing.assert_close(metrics["target_q"], batch.rewards.mean())


def test_targets_follow_every_second_update_at_their_rate():
    agent = make_agent(target_rate=0.25)
    before = parameters(agent.target_critic)
    agent.update(make_batch(0))
    after = parameters(agent.target_critic)
    torch.testing.assert_close(after, 0.75 * before + 0.25 * parameters(agent.critic))
    agent.update(make_batch(1))
    assert torch.equal(parameters(agent.target_critic), after)


def test_the_actor_may_be_updated_less_often():
    agent = make_agent(actor_update_every=2)
    assert "actor_loss" in agent.update(make_batch(0))
    actor = parameters(agent.actor)
    assert "actor_loss" not in agent.update(make_batch(1))
    assert torch.equal(parameters(agent.actor), actor)


def test_each_update_touches_its_own_parameters():
    agent, batch = make_agent(), make_batch()
    actor, critic = parameters(agent.actor), parameters(agent.critic)
    agent.update_critic(batch)
    assert torch.equal(parameters(agent.actor), actor)
    updated = parameters(agent.critic)
    assert not torch.equal(updated, critic)
    gradients = [parameter.grad.clone() for parameter in agent.critic.parameters()]
    agent.update_actor(batch.observations)
    assert torch.equal(parameters(agent.critic), updated)
    for parameter, gradient in zip(agent.critic.parameters(), gradients, strict=True):
        assert parameter.requires_grad
        assert torch.equal(parameter.grad, gradient)
    assert all((parameter.grad != 0).any() for parameter in agent.actor.parameters())


@pytest.mark.parametrize(("target_entropy", "direction"), [(-50.0, -1), (50.0, 1)])
def test_the_temperature_steers_the_entropy_to_its_target(target_entropy, direction):
    agent = make_agent(target_entropy=target_entropy)
    before = agent.temperature.item()
    agent.update(make_batch())
    assert (agent.temperature.item() - before) * direction > 0


def test_the_temperature_can_be_fixed():
    agent = make_agent(temperature_lr=0.0, initial_temperature=0.3)
    agent.update(make_batch())
    torch.testing.assert_close(agent.temperature.detach(), torch.tensor(0.3))


def test_actions_lie_in_bounds_and_the_deterministic_ones_draw_nothing():
    agent, observations = make_agent(), make_batch().observations
    state = agent.generator.get_state()
    mode = agent.act(observations, deterministic=True)
    assert torch.equal(agent.generator.get_state(), state)
    torch.testing.assert_close(mode, agent.actor(observations)[0].tanh().detach())
    sample = agent.act(100 * observations, deterministic=False)
    assert sample.shape == (64, ACT)
    assert (sample.abs() <= 1).all()
    assert not torch.equal(sample, agent.act(100 * observations, deterministic=False))


def test_log_prob_of_a_sample_is_differentiable_and_that_of_the_draw():
    agent, observations = make_agent(), make_batch().observations
    actions, expected = agent._sample(observations)
    density = agent.log_prob(observations, actions.detach())
    torch.testing.assert_close(density, expected, rtol=1e-3, atol=1e-3)
    density.sum().backward()
    assert all(parameter.grad is not None for parameter in agent.actor.parameters())


def test_normalized_observations_may_have_any_unit():
    agents = [make_agent(normalize_observations=True) for _ in range(2)]
    batches = [make_batch(seed) for seed in range(5)]
    for batch in batches:
        agents[0].update(batch)
        agents[1].update(in_centimetres(batch))
    seen = make_batch(9)
    for deterministic in (True, False):
        torch.testing.assert_close(
            agents[0].act(seen.observations, deterministic=deterministic),
            agents[1].act(in_centimetres(seen).observations, deterministic=deterministic),
            rtol=0,
            atol=1e-4,
        )
    torch.testing.assert_close(
        agents[0].q_values(seen.observations, seen.actions),
        agents[1].q_values(in_centimetres(seen).observations, seen.actions),
        rtol=0,
        atol=1e-4,
    )
    restored = make_agent(seed=1, normalize_observations=True)
    restored.load_state_dict(agents[0].state_dict())
    assert torch.equal(
        restored.log_prob(seen.observations, seen.actions),
        agents[0].log_prob(seen.observations, seen.actions),
    )


def test_normalized_observations_are_cut_off():
    agent = make_agent(normalize_observations=True)
    agent.update(make_batch())
    far, farther = (torch.full((1, OBS), distance) for distance in (1e3, 1e6))
    assert torch.equal(agent.distribution(far)[0], agent.distribution(farther)[0])


def in_centimetres(batch: Batch) -> Batch:
    return dataclasses.replace(
        batch,
        observations=100 * batch.observations + 7,
        next_observations=100 * batch.next_observations + 7,
    )


def test_reset_critic_keeps_actor_and_temperature():
    agent = make_agent()
    for step in range(3):
        agent.update(make_batch(step))
    actor, critic = parameters(agent.actor), parameters(agent.critic)
    temperature, moments = agent.temperature, copy.deepcopy(agent.policy_optimizer.state_dict())
    agent.reset_critic()
    assert torch.equal(parameters(agent.actor), actor)
    assert torch.equal(agent.temperature, temperature)
    assert not torch.equal(parameters(agent.critic), critic)
    assert torch.equal(parameters(agent.target_critic), parameters(agent.critic))
    assert not any(parameter.requires_grad for parameter in agent.target_critic.parameters())
    assert agent.critic_optimizer.state_dict()["state"] == {}
    torch.testing.assert_close(agent.policy_optimizer.state_dict(), moments, rtol=0, atol=0)
    agent.update(make_batch())  # and learning goes on with the new critic
    assert not torch.equal(parameters(agent.target_critic), parameters(agent.critic))


def test_the_same_seed_gives_the_same_bytes():
    first, second = make_agent(3), make_agent(3)
    for step in range(3):
        first.update(make_batch(step))
        second.update(make_batch(step))
    for name in ("actor", "critic", "target_critic"):
        assert torch.equal(parameters(getattr(first, name)), parameters(getattr(second, name)))


@pytest.mark.parametrize("num_before", [2, 3])  # the target step's parity is part of the state
def test_a_restored_agent_goes_on_bit_for_bit(num_before, tmp_path):
    agent = make_agent()
    for step in range(num_before):
        agent.update(make_batch(step))
    torch.save(agent.state_dict(), tmp_path / "agent.pt")
    generator = torch.Generator()
    generator.set_state(agent.generator.get_state())
    restored = make_agent(seed=9)
    restored.load_state_dict(torch.load(tmp_path / "agent.pt", weights_only=True))
    restored.generator = generator
    for step in range(num_before, num_before + 3):
        expected = agent.update(make_batch(step))
        assert expected == restored.update(make_batch(step))
    for name in ("actor", "critic", "target_critic"):
        assert torch.equal(parameters(getattr(agent, name)), parameters(getattr(restored, name)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_sizes": ()},
        {"hidden_sizes": (32, 0)},
        {"actor_lr": 0.0},
        {"critic_lr": -1.0},
        {"temperature_lr": -1e-4},
        {"betas": (0.9, 1.0)},
        {"initial_temperature": 0.0},
        {"discount": 1.1},
        {"target_rate": 0.0},
        {"target_update_every": 0},
        {"actor_update_every": 0},
        {"log_std_bounds": (2.0, -5.0)},
        {"log_std_mode": "softplus"},
        {"initialization": "xavier"},
    ],
)
def test_illegal_settings_are_named(wrong):
    (name,) = wrong
    with pytest.raises((ValueError, TypeError), match=name):  # TypeError: types checked at run time
        SACConfig(**wrong)


def test_defaults_are_those_of_b_pref():
    config = SACConfig()
    assert (config.hidden_sizes, config.actor_lr, config.critic_lr) == ((1024, 1024), 5e-4, 5e-4)
    assert (config.temperature_lr, config.initial_temperature) == (1e-4, 0.1)
    assert (config.discount, config.target_rate, config.target_update_every) == (0.99, 0.005, 2)
    assert make_agent().target_entropy == -ACT


def point_mass_return(act, num_envs: int = 64, record=None) -> torch.Tensor:
    """Mean return of 20 steps on a line: an action moves by at most 0.2, a step costs x^2."""
    generator = torch.Generator().manual_seed(7)
    position = 2 * torch.rand(num_envs, 1, generator=generator) - 1
    total = torch.zeros(num_envs)
    for _ in range(20):
        actions = act(position)
        following = (position + 0.2 * actions).clamp(-1, 1)
        rewards = -following.square().squeeze(-1)
        if record is not None:
            record.append((position, actions, rewards, following))
        position, total = following, total + rewards
    return total.mean()


def test_a_point_mass_is_brought_to_the_origin_in_seconds():
    generator = torch.Generator().manual_seed(1)
    config = SACConfig(hidden_sizes=(32, 32), actor_lr=3e-3, critic_lr=3e-3, discount=0.9)
    agent = SAC(config, 1, 1, generator=generator)

    def random(position):
        return 2 * torch.rand(position.shape, generator=generator) - 1

    steps: list[tuple[torch.Tensor, ...]] = []
    random_return = point_mass_return(random, record=steps)
    for _ in range(6):
        columns = [torch.cat(column) for column in zip(*steps, strict=True)]
        for _ in range(40):
            rows = torch.randint(len(columns[0]), (128,), generator=generator)
            observations, actions, rewards, following = (column[rows] for column in columns)
            batch = Batch(observations, actions, rewards, following, torch.zeros(128))
            agent.update(batch)
        point_mass_return(lambda x: agent.act(x, deterministic=False), record=steps)
    learned_return = point_mass_return(lambda x: agent.act(x, deterministic=True))

    def towards_the_origin(position):
        return (-5 * position).clamp(-1, 1)

    best = point_mass_return(towards_the_origin)
    assert learned_return > 0.9 * best + 0.1 * random_return
