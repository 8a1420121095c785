import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbrl.offline.dataset import RowNumbers
from pbrl.offline.rows import locate_rows

# Two timed-out episodes of 4 and 3 steps, whose last steps have no row, and one that terminated.
ROWS = RowNumbers(np.array([0, 0, 0, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 0, 1, 0, 1, 2]))


def test_segments_keep_their_shape_and_find_their_episode():
    index = locate_rows(ROWS, np.array([[0, 5], [1, 3]]), np.array([[3, 3], [2, 2]]))
    assert index.episode.tolist() == [[0, 2], [0, 1]]
    assert index.start.tolist() == [[0, 0], [1, 0]]
    assert index.length.tolist() == [[3, 3], [2, 2]]


@pytest.mark.parametrize(
    ("first", "length", "message"),
    [
        (6, 3, "1 of 2 segments lie outside the 8 rows of the dataset; the first begins at row 6"),
        (-1, 2, "begins at row -1 and has 2 steps"),
        (0, 0, "has 0 steps"),
        (2, 2, "1 of 2 segments leave their episode; .* row 2, step 2 of episode 0, and has 2"),
        (3, 4, "leave their episode"),
        (2**62, 2**62, "outside"),
    ],
)
def test_what_does_not_fit_is_refused(first, length, message):
    with pytest.raises(ValueError, match=message):
        locate_rows(ROWS, np.array([0, first]), np.array([1, length]))


def test_a_step_left_out_ends_a_segment():
    rows = RowNumbers(np.zeros(4, int), np.array([0, 1, 3, 4]))
    assert locate_rows(rows, np.array([2]), np.array([2])).start.tolist() == [3]
    with pytest.raises(ValueError, match="leave"):
        locate_rows(rows, np.array([1]), np.array([2]))


def test_rows_of_no_episode_are_in_no_segment():
    rows = RowNumbers(np.array([0, 0, -1, -1, 1]), np.array([0, 1, 2, 3, 0]))
    with pytest.raises(ValueError, match="leave their episode; .* episode -1"):
        locate_rows(rows, np.array([2]), np.array([2]))


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.integers(0, 40),
    st.integers(1, 8),
)
def test_a_window_is_accepted_exactly_when_all_its_rows_are_one_episode(lengths, first, length):
    episode = np.repeat(np.arange(len(lengths)), lengths)
    step = np.concatenate([np.arange(count) for count in lengths])
    inside = first + length <= len(episode)
    legal = inside and len(set(episode[first : first + length])) == 1
    try:
        index = locate_rows(RowNumbers(episode, step), np.array([first]), np.array([length]))
    except ValueError:
        assert not legal
    else:
        assert legal
        assert (int(index.episode[0]), int(index.start[0])) == (episode[first], step[first])
