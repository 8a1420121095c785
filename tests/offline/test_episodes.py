import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.offline import episodes
from pbrl.offline.checks import DatasetError
from pbrl.offline.dataset import DatasetInfo
from pbrl.offline.episodes import (
    EpisodeBounds,
    Steps,
    build_dataset,
    fit_actions,
    number_rows,
    pick_steps,
    rescale_actions,
    split_episodes,
    without_unknown_ends,
)
from tests.offline.dataset_files import episodes_of


def counting_steps(number: int) -> Steps:
    count = np.arange(number, dtype=np.float32)
    actions = np.zeros((number, 1), np.float32)
    return Steps(observations=count[:, None].copy(), actions=actions, rewards=count.copy())


def table(bounds: EpisodeBounds) -> list[tuple[int, int, bool]]:
    return list(
        zip(bounds.start.tolist(), bounds.length.tolist(), bounds.terminated.tolist(), strict=True)
    )


def test_episodes_end_at_terminals_cuts_and_the_end():
    terminated = np.array([0, 1, 0, 0, 1, 0, 0], bool)
    truncated = np.array([0, 0, 0, 1, 1, 0, 0], bool)
    bounds = split_episodes(terminated, truncated)
    assert table(bounds) == [(0, 2, True), (2, 2, False), (4, 1, True), (5, 2, False)]
    assert bounds.last.tolist() == [1, 3, 4, 6]
    assert not truncated[-1]  # what came in stays


def test_cut_episodes_without_an_outcome_lose_their_last_step():
    terminated = np.array([0, 1, 0, 0, 0, 1, 0], bool)
    truncated = np.array([0, 0, 0, 1, 1, 0, 0], bool)
    bounds = without_unknown_ends(split_episodes(terminated, truncated))
    assert table(bounds) == [(0, 2, True), (2, 1, False), (5, 1, True)]


def test_rows_outside_of_episodes_belong_to_none():
    bounds = EpisodeBounds(
        start=np.array([2, 5]), length=np.array([2, 1]), terminated=np.array([False, True])
    )
    rows = number_rows(bounds, np.arange(7))
    assert rows.episode.tolist() == [-1, -1, 0, 0, -1, 1, -1]
    assert rows.step[[2, 3, 5]].tolist() == [0, 1, 0]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=8),
    st.integers(1, 7),
)
def test_steps_between_episodes_are_left_out(shape, chunk):
    length = np.array([kept for kept, _ in shape])
    start = np.cumsum([0, *(kept + gap for kept, gap in shape)])[:-1]
    bounds = EpisodeBounds(start=start, length=length, terminated=np.zeros(len(shape), bool))
    expected = np.concatenate([np.arange(a, a + n) for a, n in zip(start, length, strict=True)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(episodes, "_CHUNK", chunk)
        steps = pick_steps(counting_steps(int(sum(map(sum, shape)))), bounds)
    assert len(steps) == length.sum()
    assert steps.observations[:, 0].tolist() == expected.tolist()
    assert steps.rewards.tolist() == expected.tolist()


def test_steps_of_a_whole_source_are_not_moved():
    steps = counting_steps(4)
    bounds = split_episodes(np.zeros(4, bool), np.zeros(4, bool))
    assert pick_steps(steps, bounds) is steps


def test_a_dataset_takes_the_memory_of_its_source():
    steps = counting_steps(4)
    bounds = split_episodes(np.array([0, 1, 0, 0], bool), np.zeros(4, bool))
    dataset = build_dataset(DatasetInfo(name="a", family="npz"), steps, bounds, None)
    assert dataset.replay.all_observations().data_ptr() == steps.observations.ctypes.data
    found = episodes_of(dataset)
    assert [episode.observations[:, 0].tolist() for episode in found] == [[0, 1, 1], [2, 3, 3]]
    assert [episode.terminated for episode in found] == [True, False]


def test_actions_beyond_their_bounds():
    inside = np.array([[-1.0, 1.0]], np.float32)
    assert fit_actions("actions", inside, is_clipped_by_env=False) == {}
    rounded = np.array([[-1.00001, 1.0]], np.float32)
    assert "clipped_actions" in fit_actions("actions", rounded, is_clipped_by_env=False)
    assert rounded.min() == -1.0
    for array in (np.array([[0.0, 2.0]], np.float32), np.array([[-2.0, 0.0]], np.float32)):
        with pytest.raises(DatasetError, match=r"actions must lie in \[-1, 1\]"):
            fit_actions("actions", array, is_clipped_by_env=False)
        found = fit_actions("actions", array, is_clipped_by_env=True)
        assert found["clipped_actions"].startswith("1 of 2 numbers")
        assert np.abs(array).max() == 1.0


def test_actions_are_rescaled_by_hand():
    low, high = np.array([-2.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32)
    actions = np.array([[-2.0, 0.0], [1.0, 0.75], [2.0, 1.0]], np.float32)
    noted = rescale_actions(actions, low, high)
    assert actions.tolist() == [[-1.0, -1.0], [0.5, 0.5], [1.0, 1.0]]
    assert noted == {"action_low": "[-2.0, 0.0]", "action_high": "[2.0, 1.0]"}
    assert rescale_actions(actions, -np.ones(2, np.float32), np.ones(2, np.float32)) == {}
