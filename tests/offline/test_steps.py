import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.offline.steps import dataset_steps, discounted_to_go
from pbrl.replay import ReplayBuffer


def make_replay(lengths, terminated=None):
    """Episodes whose observations count the steps of the whole buffer; the last ones are -1, ..."""
    total = sum(lengths)
    return ReplayBuffer.from_episodes(
        observations=torch.arange(float(total))[:, None],
        actions=torch.zeros(total, 1),
        true_rewards=torch.arange(float(total)),
        last_observations=-1 - torch.arange(float(len(lengths)))[:, None],
        lengths=torch.tensor(lengths),
        terminated=torch.tensor(terminated or [False] * len(lengths)),
    )


def test_steps_know_their_episode_and_what_follows():
    steps = dataset_steps(make_replay([3, 1, 2], [True, False, False]))
    assert len(steps) == 6
    assert steps.episode.tolist() == [0, 0, 0, 1, 2, 2]
    assert steps.steps_left.tolist() == [3, 2, 1, 1, 2, 1]
    assert steps.first_rows.tolist() == [0, 3, 4]
    assert steps.is_last.tolist() == [False, False, True, True, False, True]
    assert steps.next_observations(torch.arange(6))[:, 0].tolist() == [1, 2, -1, -2, 5, -3]
    assert steps.returns().tolist() == [3, 3, 9]
    assert steps.terminated.tolist() == [True, False, False]


def test_a_buffer_filled_step_by_step_is_refused():
    replay = ReplayBuffer(10, 1, 1)
    with pytest.raises(ValueError, match="complete episodes of a dataset"):
        dataset_steps(replay)


def test_discounted_sums_by_hand():
    rewards = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])
    left = torch.tensor([3, 2, 1, 2, 1])
    assert discounted_to_go(rewards, left, 0.5).tolist() == [3.0, 4.0, 4.0, 16.0, 16.0]
    assert discounted_to_go(rewards, left, 0.0).tolist() == rewards.tolist()
    assert discounted_to_go(rewards[:0], left[:0], 0.5).tolist() == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.floats(0, 1),
    st.integers(0, 2**31),
)
def test_discounted_sums_are_those_of_a_loop(lengths, discount, seed):
    rewards = torch.randn(sum(lengths), generator=torch.Generator().manual_seed(seed))
    left = torch.cat([torch.arange(length, 0, -1) for length in lengths])
    expected, total = [], 0.0
    for reward, remaining in zip(rewards.tolist()[::-1], left.tolist()[::-1], strict=True):
        total = reward + (0.0 if remaining == 1 else discount * total)
        expected.append(total)
    found = discounted_to_go(rewards, left, discount)
    torch.testing.assert_close(found, torch.tensor(expected[::-1], dtype=torch.float64))
