import dataclasses

import pytest
import torch

from pbrl.agents.dt import DecisionTransformer, DTConfig
from pbrl.agents.dtr import DTR
from pbrl.agents.dtr_config import DTRConfig
from pbrl.agents.learning_rates import RateSchedule
from pbrl.agents.sequence_policy import SequencePolicyConfig
from pbrl.offline.windows import WindowSampler
from pbrl.pairs import OfflineBatch
from pbrl.replay import ReplayBuffer
from pbrl.transformer import TransformerConfig

SMALL = DTConfig(
    policy=SequencePolicyConfig(
        transformer=TransformerConfig(width=16, num_layers=2, num_heads=2),
        context=4,
        num_timesteps=20,
    ),
    batch_size=8,
    rate=RateSchedule(peak=3e-3),
)
SMALL_DTR = DTRConfig(
    imitation=SMALL,
    critic_hidden_sizes=(16, 16),
    critic_rate=RateSchedule(peak=3e-3),
    slow_start=0,
    coefficient_updates=10,
)


def dataset(rewards=None, lengths=(12, 9, 15), device="cpu"):
    generator = torch.Generator().manual_seed(0)
    number = sum(lengths)
    return ReplayBuffer.from_episodes(
        observations=torch.randn(number, 3, generator=generator),
        actions=torch.rand(number, 2, generator=generator) * 2 - 1,
        true_rewards=torch.zeros(number),
        rewards=torch.randn(number, generator=generator) if rewards is None else rewards,
        last_observations=torch.zeros(len(lengths), 3),
        lengths=torch.tensor(lengths),
        terminated=torch.tensor([True, False, False]),
        device=device,
    )


def make(config, seed=0, replay=None):
    kind = DTR if isinstance(config, DTRConfig) else DecisionTransformer
    agent = kind(config, 3, 2, generator=torch.Generator().manual_seed(seed))
    agent.prepare(dataset() if replay is None else replay)
    return agent


def batches(agent, number, seed=3):
    sampler = WindowSampler(dataset(), agent.batch_sizes.windows)
    generator = torch.Generator().manual_seed(seed)
    return [OfflineBatch(windows=sampler.draw(generator)) for _ in range(number)]


def parameters(agent):
    return torch.cat([p.detach().flatten() for p in agent.policy.parameters()])


def changed(config, **options):
    return dataclasses.replace(config, **options)


def test_networks_have_the_sizes_of_the_released_code():
    """3,696,657 parameters on hopper, of which it never uses 256 + 2,827 + 257 + 512."""
    agent = DTR(DTRConfig(), 11, 3, generator=torch.Generator())
    number = sum(p.numel() for part in (agent.policy, agent.critic) for p in part.parameters())
    assert number == 3_696_657 - 3_852


def test_a_coefficient_of_zero_is_decision_transformer():
    one, other = make(SMALL), make(changed(SMALL_DTR, max_coefficient=0.0))
    other.policy.load_state_dict(one.policy.state_dict())
    # Without dropout, which both would draw from streams that differ.
    for agent in (one, other):
        for module in agent.policy.modules():
            if hasattr(module, "config") and isinstance(module.config, TransformerConfig):
                module.config = changed(module.config, dropout=0.0, attention_dropout=0.0)
    for batch in batches(one, 3):
        first, second = one.update(batch), other.update(batch)
        assert first["imitation_loss"] == second["imitation_loss"]
    assert torch.equal(parameters(one), parameters(other))
    observations = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    single = make(changed(SMALL_DTR, target_factors=(1.0,)))
    single.policy.load_state_dict(one.policy.state_dict())
    both = [agent.actor() for agent in (one, single)]
    for _ in range(6):
        torch.testing.assert_close(both[0](observations), both[1](observations))


def test_the_policy_moves_towards_what_the_critics_value():
    """Without imitation, and with critics that value large first actions."""
    agent = make(changed(SMALL_DTR, imitation_weight=0.0, coefficient_updates=None))

    class LikesLarge(torch.nn.Module):
        def forward(self, inputs):
            return inputs[..., 3:4].expand(2, -1, -1)

    agent.critic.layers = LikesLarge()
    batch = batches(agent, 1)[0]
    before = agent.policy.eval()(*agent.imitator.inputs(batch.windows))[batch.windows.mask]
    for _ in range(30):
        agent._update_policy(batch.windows)
    after = agent.policy.eval()(*agent.imitator.inputs(batch.windows))[batch.windows.mask]
    assert (after - before)[:, 0].mean() > 0.3


def test_no_loss_reaches_the_other_network():
    agent = make(SMALL_DTR)
    windows = batches(agent, 1)[0].windows
    agent._update_critic(windows)
    assert all(p.grad is None for p in agent.policy.parameters())
    of_critic = [p.grad.clone() for p in agent.critic.parameters()]
    agent._update_policy(windows)
    for before, parameter in zip(of_critic, agent.critic.parameters(), strict=True):
        assert torch.equal(before, parameter.grad)
    assert all(p.requires_grad for p in agent.critic.parameters())
    assert all(p.grad is not None for p in agent.policy.parameters())
    assert all(p.grad is None for p in agent.slow_policy.parameters())


def test_the_slow_copy_follows_at_its_own_pace():
    agent = make(changed(SMALL_DTR, slow_every=2, slow_start=3, slow_decay=0.5))
    start = parameters(agent)
    moved = []
    for batch in batches(agent, 6):
        before = torch.cat([p.flatten() for p in agent.slow_policy.parameters()])
        agent.update(batch)
        after = torch.cat([p.flatten() for p in agent.slow_policy.parameters()])
        moved.append(not torch.equal(before, after))
    assert moved == [False, False, False, False, True, False]  # after 4 updates, not after 2 or 3
    assert not torch.equal(start, parameters(agent))


@pytest.mark.parametrize("config", [SMALL, SMALL_DTR], ids=["dt", "dtr"])
def test_learning_goes_on_bit_for_bit_after_a_restart(config):
    whole, first = make(config), make(config)
    steps = batches(whole, 6)
    for batch in steps:
        whole.update(batch)
    for batch in steps[:3]:
        first.update(batch)
    second = type(first)(config, 3, 2, generator=torch.Generator().manual_seed(9))
    second.load_state_dict(first.state_dict())
    second.generator.set_state(first.generator.get_state())
    for batch in steps[3:]:
        second.update(batch)
    assert torch.equal(parameters(whole), parameters(second))
    observations = torch.ones(2, 3)
    assert torch.equal(whole.actor()(observations), second.actor()(observations))


@pytest.mark.parametrize("config", [SMALL, SMALL_DTR], ids=["dt", "dtr"])
def test_updates_are_finite_and_imitate(config):
    agent = make(config)
    metrics = [agent.update(batch) for batch in batches(agent, 40)]
    assert all(bool(value.isfinite()) for row in metrics for value in row.values())
    assert not any(value.requires_grad for row in metrics for value in row.values())
    first, last = (
        sum(float(row["imitation_loss"]) for row in rows) for rows in (metrics[:5], metrics[-5:])
    )
    assert last < first


def test_the_next_observation_can_be_predicted_too():
    policy = changed(SMALL.policy, predict_observations=True)
    agent = make(changed(SMALL, policy=policy, observation_weight=1.0))
    metrics = [agent.update(batch) for batch in batches(agent, 30)]
    assert metrics[-1]["observation_loss"] < metrics[0]["observation_loss"]


def test_several_environments_act_as_each_alone():
    agent = make(SMALL_DTR)
    for batch in batches(agent, 3):
        agent.update(batch)
    observations = torch.randn(7, 4, 3, generator=torch.Generator().manual_seed(5))
    together = agent.actor()
    alone = [agent.actor() for _ in range(4)]
    is_first = torch.tensor([False, True, False, False])
    for step, seen in enumerate(observations):
        if step == 3:
            together.begin(is_first)
            alone[1].begin(torch.tensor([True]))
        expected = torch.cat([act(seen[i : i + 1]) for i, act in enumerate(alone)])
        torch.testing.assert_close(together(seen), expected, rtol=0, atol=1e-5)


def test_the_candidate_with_the_highest_value_is_taken():
    agent = make(SMALL_DTR)

    class LikesSmall(torch.nn.Module):
        def forward(self, inputs):
            return -inputs[..., 3:4].expand(2, -1, -1)

    agent.target_critic.layers = LikesSmall()
    candidates = torch.rand(6, 5, 2, generator=torch.Generator().manual_seed(0))
    chosen = agent._choose(torch.zeros(6, 3), candidates)
    assert torch.equal(chosen[:, 0], candidates[..., 0].amin(1))


def test_the_rule_of_the_released_code_draws_among_fifty():
    """The five without noise all ask for the first return; every other candidate is noisy."""
    replay = dataset(torch.linspace(0.5, 1.5, 36))
    agent = make(changed(SMALL_DTR, choice="softmax"), replay=replay)
    asked, seen = [], []
    choose = agent._choose
    agent._choose = lambda o, c, **given: seen.append(c) or choose(o, c, **given)
    act = agent.actor()
    perturbed = act._perturbed
    act._perturbed = lambda left: asked.append((left, perturbed(left))) or asked[-1][1]
    for _ in range(6):
        assert act(torch.ones(2, 3)).shape == (2, 2)
    assert all(candidates.shape == (2, 50, 2) for candidates in seen)
    for left, noisy in asked:
        expected = left[:, :1] * torch.tensor([1.0, 1.5, 2.0, 3.0, 4.0]).repeat_interleave(10)
        torch.testing.assert_close(left, expected)
        assert torch.equal(noisy[:, :5], left[:, :5])
        assert bool((noisy[:, 5:] != left[:, 5:]).all())
    noise = torch.cat([noisy[:, 5:] - left[:, 5:] for left, noisy in asked])
    assert noise.std().item() == pytest.approx(0.1, rel=0.1)  # 540 draws: a tenth is 3 deviations
    first, again = seen[-1][:, :5], seen[-1][:, 5:10]
    torch.testing.assert_close(first, first[:, :1].expand_as(first))
    assert not torch.equal(first, again)


def test_acting_by_the_rule_of_the_released_code_changes_nothing_of_what_is_learned():
    agents = [make(changed(SMALL_DTR, choice="softmax")) for _ in range(2)]
    actions = []
    for batch in batches(agents[0], 3):
        for agent in agents:
            agent.update(batch)
        act, again = agents[0].actor(), agents[0].actor()
        actions.append([(act(torch.ones(2, 3)), again(torch.ones(2, 3))) for _ in range(3)])
    assert all(torch.equal(*both) for episode in actions for both in episode)
    learned = [agent.policy.parameters() for agent in agents]
    assert all(torch.equal(*both) for both in zip(*learned, strict=True))


def test_the_best_return_and_the_longest_episode_are_found():
    rewards = torch.cat([torch.full((12,), 0.5), torch.full((9,), 1.0), torch.full((15,), -1.0)])
    agent = make(SMALL, replay=dataset(rewards))
    assert (agent.max_return, agent.episode_length) == (9.0, 15)


def test_the_returns_of_pieces_are_asked_for_where_pieces_are_learned_from():
    """The two episodes that were cut off lose their last step: 12 + 8 + 14 of 36 are left."""
    replay = dataset(torch.arange(36.0))
    agent = make(changed(SMALL, episode_steps=10, return_scale=None), replay=replay)
    kept = torch.cat([torch.arange(20.0), torch.arange(21.0, 35.0)])
    returns = kept[:30].view(3, 10).sum(1)
    assert (agent.max_return, agent.episode_length) == (float(returns.max()), 10)
    windows = WindowSampler(replay, agent.batch_sizes.windows)
    assert float(windows.read(torch.arange(30)).returns_to_go.max()) == agent.max_return
    assert agent.return_scale == pytest.approx(agent.max_return / 10)


def test_equal_rewards_of_longer_and_shorter_episodes_tell_them_apart():
    agent = make(SMALL, replay=dataset(torch.ones(36)))
    assert (agent.max_return, agent.episode_length) == (15.0, 15)
    alike = "rewards of all 36 steps are 1 in the scale .* the returns of all 3 episodes 12: "
    with pytest.raises(ValueError, match=alike):
        agent.prepare(dataset(torch.ones(36), lengths=(12, 12, 12)))


def test_the_scale_may_follow_the_returns_of_the_dataset():
    rewards = torch.cat([torch.full((12,), 0.5), torch.full((9,), 1.0), torch.full((15,), -1.0)])
    agent = make(dataclasses.replace(SMALL, return_scale=None), replay=dataset(rewards))
    assert agent.return_scale == 1.5
    again = make(dataclasses.replace(SMALL, return_scale=None))
    again.load_state_dict(agent.state_dict())
    assert (again.return_scale, again.max_return) == (1.5, 9.0)
    assert make(SMALL, replay=dataset(rewards)).return_scale == SMALL.return_scale


def test_data_that_cannot_be_learned_from_are_refused():
    agent = make(SMALL)
    with pytest.raises(ValueError, match="episodes of 21 steps, and num_timesteps is 20"):
        WindowSampler(dataset(torch.zeros(32), lengths=(21, 5, 6)), agent.batch_sizes.windows)
    with pytest.raises(ValueError, match="rewards of all 36 steps are 0"):
        agent.prepare(dataset(torch.zeros(36)))
    with pytest.raises(ValueError, match="the batch must hold"):
        agent.update(OfflineBatch())
    with pytest.raises(ValueError, match="the batch must hold"):
        make(SMALL_DTR).update(OfflineBatch())


@pytest.mark.parametrize(
    ("base", "options", "match"),
    [
        (SMALL, {"gradient_clip": 0.0}, "gradient_clip"),
        (SMALL, {"return_scale": 0.0}, "return_scale"),
        (SMALL, {"observation_weight": 1.0}, "predict_observations"),
        (SMALL, {"batch_size": 0}, "number of windows"),
        (SMALL_DTR, {"target_factors": ()}, "target_factors"),
        (SMALL_DTR, {"slow_decay": 1.0}, "slow_decay"),
        (SMALL_DTR, {"max_coefficient": -1.0}, "max_coefficient"),
    ],
)
def test_impossible_configurations_are_refused(base, options, match):
    with pytest.raises(ValueError, match=match):
        dataclasses.replace(base, **options)
