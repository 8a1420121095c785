import pytest
import torch

from pbrl.offline.windows import WindowSampler
from pbrl.replay import ReplayBuffer
from pbrl.windows import WindowSizes, piece_rows

LENGTHS = (5, 2, 3)


def dataset(lengths=LENGTHS, terminated=(False, True, False)):
    """Step t of the dataset observes t, acts t / 100 and is rewarded with t."""
    number = sum(lengths)
    count = torch.arange(float(number))
    return ReplayBuffer.from_episodes(
        observations=count[:, None],
        actions=count[:, None] / 100,
        true_rewards=torch.zeros(number),
        rewards=count,
        last_observations=torch.full((len(lengths), 1), -1.0),
        lengths=torch.tensor(lengths),
        terminated=torch.tensor(terminated),
    )


def sampler(**options):
    return WindowSampler(dataset(), WindowSizes(**{"number": 1, "steps": 3} | options))


def test_windows_by_hand_begin_at_their_row_and_end_with_the_episode():
    windows = sampler().read(torch.tensor([0, 3, 5, 9]))
    left = [[0, 1, 2], [0, 3, 4], [0, 5, 6], [0, 0, 9]]
    assert windows.observations[..., 0].tolist() == left
    assert windows.rewards.tolist() == left
    torch.testing.assert_close(windows.actions[..., 0], torch.tensor(left) / 100)
    assert windows.mask.sum(1).tolist() == [3, 2, 2, 1]
    assert bool(windows.mask[:, -1].all())
    assert windows.timesteps.tolist() == [[0, 1, 2], [0, 3, 4], [0, 0, 1], [0, 0, 2]]
    # Of the first episode 0 + 1 + 2 + 3 + 4, and so on.
    assert windows.returns_to_go.tolist() == [[10, 10, 9], [0, 7, 4], [0, 11, 6], [0, 0, 9]]
    assert windows.terminated.tolist() == [False, False, True, False]
    assert windows.rows.tolist() == [0, 3, 5, 9]


def test_windows_may_end_at_their_row_and_be_filled_up_on_the_right():
    windows = sampler(anchor="last", padding="right").read(torch.tensor([0, 4, 5, 9]))
    assert windows.observations[..., 0].tolist() == [[0, 0, 0], [2, 3, 4], [5, 0, 0], [7, 8, 9]]
    assert windows.mask.sum(1).tolist() == [1, 3, 1, 3]
    assert windows.mask[0].tolist() == [True, False, False]
    assert windows.terminated.tolist() == [False, False, False, False]


def test_no_window_mixes_episodes_and_every_step_is_drawn_equally_often():
    draw = sampler(number=20_000).draw(torch.Generator().manual_seed(0))
    counts = torch.bincount(draw.rows, minlength=10)
    assert bool((counts > 1850).all())  # 2,000 each, standard deviation 42
    bounds = torch.tensor([0, 5, 7])
    for begin, end in zip(bounds, (5, 7, 10), strict=True):
        inside = draw.observations[(draw.rows >= begin) & (draw.rows < end)]
        held = draw.mask[(draw.rows >= begin) & (draw.rows < end)]
        assert set(inside[held].flatten().long().tolist()) == set(range(int(begin), end))


def test_episodes_may_be_drawn_first():
    draw = sampler(number=9_000, draw="episodes").draw(torch.Generator().manual_seed(0))
    counts = torch.bincount(draw.rows, minlength=10)
    expected = torch.tensor([600] * 5 + [1500] * 2 + [1000] * 3)
    assert bool(((counts - expected).abs() < 150).all())


def test_the_same_generator_gives_the_same_windows():
    one, other = (sampler(number=8).draw(torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one.rows, other.rows)
    assert torch.equal(one.observations, other.observations)


def test_changed_rewards_change_the_returns():
    replay = dataset()
    windows = WindowSampler(replay, WindowSizes(number=1, steps=2))
    assert windows.read(torch.tensor([7])).returns_to_go.tolist() == [[24, 17]]
    replay.relabel(lambda observations, actions: torch.ones(len(observations)))
    assert windows.read(torch.tensor([7])).returns_to_go.tolist() == [[3, 2]]


def test_pieces_of_a_fixed_length_mix_episodes_as_the_released_code_of_dtr_does():
    """Steps 4 and 9 were cut off by a time limit: D4RL's `qlearning_dataset` has no such step."""
    windows = sampler(episode_steps=4)
    assert windows.num_rows == 8
    batch = windows.read(torch.tensor([3, 4, 6]))
    assert batch.observations[..., 0].tolist() == [[0, 0, 3], [5, 6, 7], [0, 7, 8]]
    assert batch.rewards.tolist() == [[0, 0, 3], [5, 6, 7], [0, 7, 8]]
    assert batch.timesteps.tolist() == [[0, 0, 3], [0, 1, 2], [0, 2, 3]]
    assert batch.returns_to_go.tolist() == [[0, 0, 3], [26, 21, 15], [0, 15, 8]]
    assert batch.rows.tolist() == [3, 5, 7]


def test_a_window_of_a_piece_ends_where_its_last_step_ended_an_episode():
    windows = sampler(episode_steps=8, steps=2).read(torch.arange(8))
    # Step 6 ended an episode in a terminal state, and stands inside the piece.
    assert windows.observations[:, -1, 0].tolist() == [1, 2, 3, 5, 6, 7, 8, 8]
    assert windows.terminated.tolist() == [False] * 4 + [True] + [False] * 3


def test_every_piece_of_time_limited_episodes_mixes_two_of_them():
    """By simulation of the released script 19 of 19 pieces of 20 episodes do."""
    rows = piece_rows(torch.full((20,), 1_000), torch.zeros(20, dtype=torch.bool), 1_000)
    assert rows.shape == (19, 1_000)
    episodes = rows // 1_000
    assert bool((episodes[:, 0] != episodes[:, -1]).all())
    assert [int((one == one[0]).sum()) for one in episodes[:3]] == [999, 998, 997]
    whole = piece_rows(torch.full((20,), 1_000), torch.ones(20, dtype=torch.bool), 1_000)
    assert torch.equal(whole.flatten(), torch.arange(20_000))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"steps": 6}, "windows of 6 steps are longer than every episode: the longest has 5"),
        ({"episode_steps": 11}, "8 steps, without the last of each .* do not make a piece of 11"),
        ({"episode_steps": 2}, "at least the 3 steps of a window"),
        ({"num_timesteps": 4}, "episodes of 5 steps, and num_timesteps is 4: raise it to 5"),
        ({"number": 0}, "number of windows must be at least 1"),
    ],
)
def test_impossible_windows_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        sampler(**options)
