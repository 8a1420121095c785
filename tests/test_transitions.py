import torch

from pbrl.batches import BatchSteps
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex
from pbrl.transitions import multistep_transitions


def counted():
    """Two episodes of 4 and 3 steps; step n sees n, does n / 10 and is paid 10^n of its episode."""
    numbers = torch.tensor([0.0, 1, 2, 3, 5, 6, 7])
    powers = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    return ReplayBuffer.from_episodes(
        observations=numbers[:, None],
        actions=numbers[:, None] / 10,
        true_rewards=torch.zeros(7),
        rewards=10.0**powers,
        last_observations=torch.tensor([[4.0], [8.0]]),
        lengths=torch.tensor([4, 3]),
        terminated=torch.tensor([False, True]),
    )


def read(starts, steps, *, last_steps=True):
    replay = counted()
    episode, start = (torch.tensor(column) for column in zip(*starts, strict=True))
    index = SegmentIndex(episode, start, torch.full_like(start, steps.num_rewards))
    return multistep_transitions(
        replay._ring, replay._episodes, index, steps, last_steps=last_steps
    )


def test_sums_and_ends_by_hand():
    batch = read([(0, 0), (0, 2), (1, 1)], BatchSteps(num_rewards=2, num_actions=3, discount=0.5))
    assert batch.observations[:, 0].tolist() == [0, 2, 6]
    assert batch.rewards.tolist() == [1 + 5, 100 + 500, 10 + 50]
    assert batch.next_observations[:, 0].tolist() == [2, 4, 8]
    assert batch.terminated.tolist() == [0, 0, 1]
    torch.testing.assert_close(
        batch.action_sequences[..., 0],
        torch.tensor([[0.0, 0.1, 0.2], [0.2, 0.3, 0.0], [0.6, 0.7, 0.0]]),
    )
    assert batch.later_observations[:, 0].tolist() == [3, 4, 8]
    assert batch.is_whole.tolist() == [True, False, False]


def test_a_window_that_needs_an_unknown_end_is_not_whole():
    steps = BatchSteps(num_actions=3)
    assert read([(0, 0), (0, 1)], steps).is_whole.tolist() == [True, True]
    unknown = read([(0, 0), (0, 1)], steps, last_steps=False)
    assert unknown.is_whole.tolist() == [True, False]
