from dataclasses import replace

import pytest
import torch

from pbrl.agents.iql import IQLConfig
from pbrl.agents.p_iql import JointPIQL, JointPIQLConfig, steps_of_segments
from pbrl.agents.policies import PolicyConfig
from pbrl.pairs import OfflineBatch, OfflineBatchSizes, PairBatch
from pbrl.replay import Batch
from pbrl.reward_codes import RewardCodesConfig
from pbrl.rewards import RewardConfig
from pbrl.segments import Segments

SMALL = JointPIQLConfig(
    iql=IQLConfig(policy=PolicyConfig(hidden_sizes=(32,)), hidden_sizes=(32,), batch_size=16),
    reward=RewardConfig(num_members=1, hidden_sizes=(32,), activation="relu", output="linear"),
    reward_learning_rate=1e-2,
    num_pairs=8,
)


def agent(config=SMALL, observation_dim=2, action_dim=1, device="cpu"):
    generator = torch.Generator(device).manual_seed(0)
    return JointPIQL(config, observation_dim, action_dim, device=device, generator=generator)


def draw(seed, transitions=0, steps=5):
    """Pairs whose preferred segment has the larger sum of actions."""
    generator = torch.Generator().manual_seed(seed)
    observations = torch.rand(8, 2, steps, 2, generator=generator)
    actions = torch.rand(8, 2, steps, 1, generator=generator) * 2 - 1
    mask = torch.ones(8, 2, steps, dtype=torch.bool)
    first, second = actions.sum((-1, -2)).unbind(-1)
    segments = Segments(observations, actions, mask, torch.zeros(8, 2, steps))
    pairs = PairBatch(segments, (second > first).float(), torch.ones(8))
    if transitions == 0:
        return OfflineBatch(pairs=pairs)
    seen, done = torch.rand(transitions, 2), torch.rand(transitions, 1)
    ended = torch.zeros(transitions)
    return OfflineBatch(pairs=pairs, transitions=Batch(seen, done, ended, seen, ended))


def count(*modules):
    return sum(p.numel() for m in modules for p in m.parameters())


def test_the_papers_size():
    policy = PolicyConfig(kind="fixed-variance", hidden_sizes=(512, 512), dropout=0.25)
    config = JointPIQLConfig(iql=IQLConfig(policy=policy, hidden_sizes=(512, 512)))
    made = agent(config, 35, 4)
    networks = (made.policy, made.iql.critic, made.iql.value, made.reward)
    assert count(*networks) == 1_415_688


@pytest.mark.parametrize(
    ("dims", "hidden", "num_parameters"),
    [
        ((39, 4), (256, 256, 256), 714_252),
        ((39, 4), (64, 64), 34_892),
        ((39, 4), (35, 35), 14_012),
        ((11, 3), (256, 256), 348_426),
        ((17, 6), (256, 256), 359_184),
        ((49, 7), (256, 256), 401_170),
        ((53, 7), (256, 256), 406_290),
    ],
)
def test_the_sizes_of_ipls_baseline(dims, hidden, num_parameters):
    config = JointPIQLConfig(
        iql=IQLConfig(policy=PolicyConfig(hidden_sizes=hidden), hidden_sizes=hidden),
        reward=RewardConfig(num_members=1, hidden_sizes=hidden, activation="relu"),
    )
    made = agent(config, *dims)
    assert count(made.policy, made.iql.critic, made.iql.value, made.reward) == num_parameters


def test_steps_inside_segments_by_hand():
    observations = torch.arange(8.0).view(1, 2, 4, 1)
    mask = torch.tensor([[[True] * 4, [True, True, False, False]]])
    rewards = torch.arange(10.0, 18.0).view(1, 2, 4)
    segments = Segments(observations, -observations, mask, torch.zeros(1, 2, 4))
    batch, weights = steps_of_segments(segments, rewards)
    assert batch.observations[:, 0].tolist() == [0, 1, 2, 4, 5, 6]
    assert batch.next_observations[:, 0].tolist() == [1, 2, 3, 5, 6, 7]
    assert batch.actions[:, 0].tolist() == [0, -1, -2, -4, -5, -6]
    assert batch.rewards.tolist() == [10, 11, 12, 14, 15, 16]
    assert not batch.terminated.any()
    torch.testing.assert_close(weights, torch.tensor([0.25, 0.25, 0.25, 0.25, 0.0, 0.0]))


def test_the_reward_learns_the_order_and_then_stays():
    made = agent(replace(SMALL, reward_updates=150))
    for step in range(150):
        metrics = made.update(draw(step))
    assert metrics["reward_accuracy"] > 0.85
    before = {key: value.clone() for key, value in made.reward.state_dict().items()}
    made.update(draw(200))
    assert made.num_updates == 151
    for key, value in made.reward.state_dict().items():
        assert torch.equal(value, before[key])
    fresh = draw(300).pairs
    scores = made.segment_scores(fresh.segments)
    assert ((scores[:, 1] > scores[:, 0]).float() == fresh.labels).float().mean() > 0.7


def test_the_dataset_has_its_share_of_each_loss():
    config = replace(SMALL, dataset_weight=0.5, reward_updates=0)
    assert config.batch_sizes() == OfflineBatchSizes(pairs=8, transitions=16, least_steps=2)
    seen = []
    made = agent(config)
    made.iql.learn = lambda batch, weights: seen.append((batch, weights)) or {}
    batch = draw(0, transitions=16)
    made.update(batch)
    (given, weights), pairs = seen[0], 8 * 2 * 4
    assert len(weights) == pairs + 16
    torch.testing.assert_close(weights[:pairs].sum(), torch.tensor(0.5))
    torch.testing.assert_close(weights[pairs:], torch.full((16,), 0.5 / 16))
    learned = made.reward.mean_reward(batch.transitions.observations, batch.transitions.actions)
    torch.testing.assert_close(given.rewards[pairs:], learned.detach())


def test_without_a_share_nothing_of_the_dataset_is_drawn():
    assert SMALL.batch_sizes() == OfflineBatchSizes(pairs=8, least_steps=2)
    with pytest.raises(ValueError, match="pairs=8"):
        agent().update(OfflineBatch())


def test_learning_goes_on_from_a_stored_state():
    whole, first, second = agent(), agent(), agent()
    for step in range(4):
        whole.update(draw(step))
    for step in range(2):
        first.update(draw(step))
    second.load_state_dict(first.state_dict())
    for step in range(2, 4):
        second.update(draw(step))
    assert second.num_updates == 4
    for key, value in whole.reward.state_dict().items():
        assert torch.equal(value, second.reward.state_dict()[key])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset_weight": 1.0}, "dataset_weight must be in"),
        ({"segment_steps": 1}, "segment_steps must be at least 2"),
        ({"reward": RewardConfig(codes=RewardCodesConfig())}, "reward must be without codes"),
        ({"reward": RewardConfig(normalize_observations=True)}, "nothing fits them"),
        ({"reward": RewardConfig(normalize_rewards=True)}, "nothing fits them"),
        ({"num_pairs": 0}, "num_pairs must be at least 1"),
        ({"reward_learning_rate": 0.0}, "reward_learning_rate must be above 0"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)
