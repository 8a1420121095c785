import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbrl.offline.d4rl_rows import at_step_limit, counted_timeouts


def flags(length: int, *places: int) -> np.ndarray:
    array = np.zeros(length, bool)
    array[list(places)] = True
    return array


def test_without_terminals_both_see_every_limit():
    expected = flags(10, 3, 7)
    np.testing.assert_array_equal(at_step_limit(np.zeros(10, bool), 4), expected)
    np.testing.assert_array_equal(counted_timeouts(np.zeros(10, bool), 4), expected)


def test_after_a_terminal_d4rl_counts_a_step_too_early():
    terminals = flags(12, 1)  # episodes of 2, 4, 4 and 2 steps
    np.testing.assert_array_equal(at_step_limit(terminals, 4), flags(12, 5, 9))
    np.testing.assert_array_equal(counted_timeouts(terminals, 4), flags(12, 4, 8))


def test_a_terminal_at_the_limit_starts_both_afresh():
    terminals = flags(8, 3)
    np.testing.assert_array_equal(at_step_limit(terminals, 4), flags(8, 3, 7))
    np.testing.assert_array_equal(counted_timeouts(terminals, 4), flags(8, 3, 7))


def step_by_step(terminals: list[bool], limit: int) -> list[bool]:
    """Walk with D4RL's counter."""
    timeouts, counter = [], 0
    for is_terminal in terminals:
        is_timeout = counter == limit - 1
        timeouts.append(is_timeout)
        if is_timeout or is_terminal:
            counter = 0
        if not is_timeout:
            counter += 1
    return timeouts


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 9))
def test_the_count_is_d4rls(terminals, limit):
    found = counted_timeouts(np.array(terminals), limit)
    assert found.tolist() == step_by_step(terminals, limit)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.integers(1, 5))
def test_no_episode_is_longer_than_the_limit(lengths, limit):
    terminals = np.zeros(sum(lengths), bool)
    terminals[np.cumsum(lengths) - 1] = True
    ends = np.flatnonzero(terminals | at_step_limit(terminals, limit))
    found = np.diff(ends, prepend=-1).tolist()
    expected = [
        size
        for length in lengths
        for size in [limit] * (length // limit) + [length % limit] * (length % limit > 0)
    ]
    assert found == expected


@pytest.mark.parametrize("function", [at_step_limit, counted_timeouts])
def test_what_came_in_stays(function):
    terminals = flags(6, 2)
    function(terminals, 2)
    np.testing.assert_array_equal(terminals, flags(6, 2))
