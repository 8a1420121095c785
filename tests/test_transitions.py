import pytest
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


def collected(num_rows, num_envs=3, capacity=30, seed=0):
    """A replay of episodes of random lengths, and the rows that went into it."""
    draws = torch.Generator().manual_seed(seed)
    replay = ReplayBuffer(capacity, 2, 1, num_envs=num_envs)
    rows, observations = [], torch.rand(num_envs, 2, generator=draws)
    for _ in range(num_rows):
        following = torch.rand(num_envs, 2, generator=draws)
        terminated, truncated = torch.rand(2, num_envs, generator=draws) < 0.2
        row = {
            "observations": observations,
            "actions": torch.rand(num_envs, 1, generator=draws),
            "rewards": torch.rand(num_envs, generator=draws),
            "true_rewards": torch.zeros(num_envs),
            "next_observations": following,
            "terminated": terminated,
            "truncated": truncated,
        }
        replay.add(**row)
        rows.append(row)
        ended = (terminated | truncated)[:, None]
        observations = torch.where(ended, torch.rand(num_envs, 2, generator=draws), following)
    return replay, rows


@pytest.mark.parametrize("num_rows", [4, 10, 13, 27])  # a ring of ten rows, which it goes round
@pytest.mark.parametrize("num_steps", [1, 4, 10])
def test_the_newest_steps_are_those_collected_in_their_order(num_rows, num_steps):
    num_steps = min(num_steps, num_rows)
    replay, rows = collected(num_rows)
    newest = rows[-num_steps:]
    found = replay.newest(num_steps)
    for name in ("observations", "actions", "rewards", "next_observations", "terminated"):
        expected = torch.stack([row[name] for row in newest]).float()
        assert torch.equal(getattr(found, name), expected)
    ended = torch.stack([row["terminated"] | row["truncated"] for row in newest])
    ended[-1] = True  # nothing follows here
    assert torch.equal(found.is_last, ended)


def test_episodes_that_an_interruption_cut_end_there():
    replay, rows = collected(5)
    replay.close_open_episodes()
    elsewhere = torch.full((3, 2), 9.0)
    for _ in range(2):
        replay.add(**(rows[0] | {"observations": elsewhere}))
    found = replay.newest(4)
    assert found.is_last[1].all()
    assert torch.equal(found.next_observations[1], rows[-1]["next_observations"])
    assert torch.equal(found.terminated[1], rows[-1]["terminated"].float())


def test_rewards_are_those_of_now():
    replay, _ = collected(12)
    replay.relabel(lambda observations, actions: 7 * actions[:, 0])
    found = replay.newest(5)
    torch.testing.assert_close(found.rewards, 7 * found.actions[..., 0])


@pytest.mark.parametrize(("num_steps", "most"), [(0, 4), (5, 4)])
def test_steps_that_are_not_there_are_refused(num_steps, most):
    replay, _ = collected(4)
    with pytest.raises(ValueError, match=rf"lie in \[1, {most}\], .* got {num_steps}"):
        replay.newest(num_steps)
