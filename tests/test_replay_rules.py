import pytest
import torch

from pbrl.replay import ReplayBuffer
from pbrl.replay_rules import ReplayRuleConfig, sample_batch


def filled_replay(num_episodes: int, length: int) -> ReplayBuffer:
    """Every observation is the number of its episode."""
    replay = ReplayBuffer(num_episodes * length + 3, 1, 1)
    no, yes = torch.tensor([False]), torch.tensor([True])
    for episode in range(num_episodes):
        number = torch.tensor([[float(episode)]])
        for step in range(length):
            last = yes if step == length - 1 else no
            replay.add(number, number * 0, number[0], number[0], number, no, last)
    return replay


@pytest.mark.parametrize(("batch_size", "share"), [(1024, 0.5), (1023, 0.5), (7, 0.3), (5, 1.0)])
def test_hybrid_batch_always_adds_up(batch_size, share):
    replay = filled_replay(4, 3)
    rule = ReplayRuleConfig(recent_share=share, recent_episodes=2)
    batch = sample_batch(replay, rule, batch_size, torch.Generator().manual_seed(0))
    assert len(batch.rewards) == batch_size


def test_recent_part_comes_from_the_last_complete_episodes():
    replay = filled_replay(6, 3)
    rule = ReplayRuleConfig(recent_share=1.0, recent_episodes=2)
    batch = sample_batch(replay, rule, 200, torch.Generator().manual_seed(0))
    assert set(batch.observations[:, 0].tolist()) == {4.0, 5.0}


def test_effective_share_of_recent_data_matches_the_sheet():
    # omega + (1 - omega) min(1, N / B): N = 10, B = 20 episodes, omega = 0.5 gives 0.75
    replay = filled_replay(20, 5)
    rule = ReplayRuleConfig(recent_share=0.5, recent_episodes=10)
    batch = sample_batch(replay, rule, 40_000, torch.Generator().manual_seed(1))
    share = (batch.observations >= 10).float().mean()
    assert abs(float(share) - 0.75) < 0.01


def test_without_a_complete_episode_the_draw_is_uniform():
    replay = ReplayBuffer(10, 1, 1)
    one = torch.ones(1, 1)
    no = torch.tensor([False])
    replay.add(one, one, one[0], one[0], one, no, no)
    rule = ReplayRuleConfig(recent_share=0.5)
    assert len(sample_batch(replay, rule, 8, torch.Generator().manual_seed(0)).rewards) == 8


@pytest.mark.parametrize("bad", [{"recent_share": 1.5}, {"recent_episodes": 0}])
def test_bad_numbers_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ReplayRuleConfig(**bad)
