import pytest
import torch

from pbrl.replay import ReplayBuffer
from pbrl.reward_scaling import RewardScalingConfig, joined_members, scale_rewards, scaled

# three episodes with returns 10, -5 and 40; the second has 200 steps
EPISODES = torch.tensor([0] * 4 + [1] * 200 + [2] * 2)
REWARDS = torch.tensor([2.5] * 4 + [-0.025] * 200 + [0.2, 39.8])
MUJOCO = RewardScalingConfig(kind="return-range", shift=0.5)
ANTMAZE = RewardScalingConfig(kind="return-range", spread_lowest=True, shift=-1.0)


def test_mujoco_by_hand():
    assert scaled(REWARDS, EPISODES, MUJOCO)[204].item() == pytest.approx(4.944444, abs=1e-5)


def test_antmaze_by_hand():
    rewards = REWARDS.clone()
    rewards[4], rewards[5] = 0.2, -0.25  # a step of 0.2 in the episode of 200, same return
    after = scaled(rewards, EPISODES, ANTMAZE)
    assert after[4].item() == pytest.approx(4.0, abs=1e-5)
    assert (after[EPISODES == 1] + 1).sum().item() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("factor", [0.01, 3.0, 1e4])
def test_the_scale_of_a_learned_reward_does_not_matter(factor):
    kinds = [RewardScalingConfig(kind=kind) for kind in ("z-score", "root-mean-square")]
    for config in (MUJOCO, ANTMAZE, *kinds):
        before, after = (scaled(one, EPISODES, config) for one in (REWARDS, factor * REWARDS))
        torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)


def test_z_scores():
    after = scaled(REWARDS, EPISODES, RewardScalingConfig(kind="z-score", shift=2.0))
    assert after.mean().item() == pytest.approx(2.0, abs=1e-5)
    assert after.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    constant = scaled(torch.ones(5), EPISODES[:5], RewardScalingConfig(kind="z-score"))
    assert constant.tolist() == [0.0] * 5


def test_another_unit_leaves_zero_where_it_is():
    unit = RewardScalingConfig(kind="root-mean-square")
    after = scaled(torch.tensor([3.0, 0.0, -4.0, 0.0]), EPISODES[:4], unit)
    torch.testing.assert_close(after, torch.tensor([1.2, 0.0, -1.6, 0.0]))  # over sqrt(25 / 4)
    assert scaled(torch.full((5,), 7.0), EPISODES[:5], unit).tolist() == [1.0] * 5
    assert scaled(torch.zeros(5), EPISODES[:5], unit).tolist() == [0.0] * 5


def test_none_only_shifts():
    after = scaled(REWARDS, EPISODES, RewardScalingConfig(shift=-1.0))
    torch.testing.assert_close(after, REWARDS - 1)


def test_the_rewards_of_a_buffer_are_scaled_in_place():
    replay = ReplayBuffer.from_episodes(
        observations=torch.zeros(3, 1),
        actions=torch.zeros(3, 1),
        true_rewards=torch.tensor([7.0, 7.0, 7.0]),
        rewards=torch.tensor([1.0, 2.0, 1.0]),
        last_observations=torch.zeros(2, 1),
        lengths=torch.tensor([2, 1]),
        terminated=torch.tensor([False, False]),
    )
    scale_rewards(replay, RewardScalingConfig(kind="return-range", factor=4.0))
    assert replay.all_rewards().tolist() == [2.0, 4.0, 2.0]
    assert replay.all_true_rewards().tolist() == [7.0, 7.0, 7.0]


def test_equal_returns_and_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="the returns of all 2 episodes are 1"):
        scaled(torch.ones(2), torch.tensor([0, 1]), MUJOCO)
    with pytest.raises(ValueError, match="factor must be above 0"):
        RewardScalingConfig(factor=0.0)
    with pytest.raises(ValueError, match="spread_lowest belongs"):
        RewardScalingConfig(spread_lowest=True)


def test_members_are_standardised_each_by_itself_by_hand():
    members = torch.tensor([[0.1, 0.2, 0.3, 0.4], [-0.9, 0.9, 0.9, -0.9], [0.50, 0.52, 0.51, 0.53]])
    joined = joined_members(members)
    expected = torch.tensor([-1.227761, 0.333333, 0.333333, 0.561094])
    torch.testing.assert_close(joined, expected, atol=1e-5, rtol=0)
    assert joined.std(correction=0).item() == pytest.approx(0.714920, abs=1e-5)
    plain = joined_members(members, "mean")
    torch.testing.assert_close(plain, torch.tensor([-0.1, 0.54, 0.57, 0.01]))


def test_shifted_stretched_and_permuted_members_come_to_the_same():
    members = torch.randn(3, 20, generator=torch.Generator().manual_seed(0))
    joined = joined_members(members)
    changed = (members * torch.tensor([[2.0], [0.5], [3.0]]) + 1.0)[[2, 0, 1]]
    torch.testing.assert_close(joined_members(changed), joined, atol=1e-5, rtol=1e-4)
    alike = joined_members(members[:1].expand(3, -1))
    torch.testing.assert_close(alike.std(correction=0), torch.tensor(1.0))


def test_members_that_tell_nothing_are_left_out():
    members = torch.tensor([[1.0, 2.0, 3.0], [0.3, 0.3, 0.3]])
    torch.testing.assert_close(joined_members(members), joined_members(members[:1]))
    assert not joined_members(members[1:]).any()
