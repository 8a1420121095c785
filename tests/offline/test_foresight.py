import pytest
import torch

from pbrl.offline.foresight import ForesightPreferences, parse_foresight, rewards_ahead
from pbrl.offline.steps import dataset_steps
from pbrl.replay import ReplayBuffer

LENGTHS = (4, 2)
REWARDS = (1.0, 2.0, 4.0, 8.0, 3.0, 5.0)


def replay(rewards=REWARDS, lengths=LENGTHS):
    number = len(rewards)
    return ReplayBuffer.from_episodes(
        observations=torch.arange(number, dtype=torch.float32)[:, None],
        actions=torch.zeros(number, 1),
        true_rewards=torch.tensor(rewards),
        last_observations=torch.zeros(len(lengths), 1),
        lengths=torch.tensor(lengths),
        terminated=torch.zeros(len(lengths), dtype=torch.bool),
    )


def test_rewards_ahead_by_hand_stop_at_the_end_of_the_episode():
    steps = dataset_steps(replay())
    assert rewards_ahead(steps, 2).tolist() == [3, 6, 12, 8, 8, 5]
    assert rewards_ahead(steps, 200).tolist() == [15, 14, 12, 8, 8, 5]


def test_the_label_looks_further_than_the_window():
    preferences = ForesightPreferences(replay(), steps=1, foresee=3)  # ahead: 7 14 12 8 8 5
    drawn = preferences.draw(400, torch.Generator().manual_seed(0))
    assert set(drawn.index.length.flatten().tolist()) == {1}
    ahead = torch.tensor([7.0, 14, 12, 8, 8, 5])
    rows = drawn.index.start + torch.tensor([0, 4])[drawn.index.episode]
    expected = (torch.sign(ahead[rows].diff(dim=1)[:, 0]) + 1) / 2
    assert torch.equal(drawn.labels, expected)
    assert set(drawn.labels.tolist()) == {0.0, 0.5, 1.0}
    assert (rows[:, 0] != rows[:, 1]).all()
    assert len(set(map(tuple, rows.tolist()))) == 30  # every ordered pair of six windows


def test_windows_end_with_their_episode():
    index = ForesightPreferences(replay(), steps=3).segments
    assert index.episode.tolist() == [0, 0, 0, 0, 1, 1]
    assert index.start.tolist() == [0, 1, 2, 3, 0, 1]
    assert index.length.tolist() == [3, 3, 2, 1, 2, 1]


def test_a_budget_is_a_fixed_set_of_different_pairs():
    preferences = ForesightPreferences(replay(), steps=2)
    for number in (1, 7, 15):
        made = preferences.budget(number, torch.Generator().manual_seed(1))
        index = made.labelled.index
        rows = index.start + torch.tensor([0, 4])[index.episode]
        assert len({frozenset(pair) for pair in rows.tolist()}) == number == len(made)
    again = preferences.budget(15, torch.Generator().manual_seed(1))
    assert torch.equal(again.labelled.labels, made.labelled.labels)


def test_what_cannot_be_labelled_is_refused():
    with pytest.raises(ValueError, match="between 1 and the 15 pairs of the 6 windows.* got 16"):
        ForesightPreferences(replay()).budget(16, torch.Generator())
    with pytest.raises(ValueError, match="holds no reward to label by"):
        ForesightPreferences(replay(rewards=(0.0,) * 6))
    with pytest.raises(ValueError, match="all 6 windows earn the same in the next 1 steps"):
        ForesightPreferences(replay(rewards=(0.1,) * 6), foresee=1)
    ForesightPreferences(replay(rewards=(0.1,) * 6), foresee=2)  # the last steps earn less
    with pytest.raises(ValueError, match="two windows, got a dataset of 1 steps"):
        ForesightPreferences(replay((1.0,), (1,)))
    with pytest.raises(ValueError, match="at least 1, got 0 and 200"):
        ForesightPreferences(replay(), steps=0)


def test_labels_are_described_by_words():
    endless = parse_foresight("foresight", replay())
    assert isinstance(endless, ForesightPreferences)
    assert endless.window_steps == 20
    fixed = parse_foresight("foresight:budget=5,steps=2,foresee=3,seed=1", replay())
    assert len(fixed) == 5
    assert int(fixed.segments.length.max()) <= 2
    for wrong in ("foresight:windows=3", "foresight:budget=many", "foresight:budget=-1"):
        with pytest.raises(ValueError, match="expected steps=NUMBER, foresee=NUMBER"):
            parse_foresight(wrong, replay())
