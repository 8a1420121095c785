import numpy as np
import pytest

from pbrl.offline.checks import DatasetError
from pbrl.offline.episode_arrays import EpisodeArrays, StepsWriter, join_episodes
from tests.offline.dataset_files import make_episodes


def as_arrays(episodes) -> list[EpisodeArrays]:
    return [EpisodeArrays(**vars(episode)) for episode in episodes]


def test_episodes_lie_one_after_the_other():
    episodes = make_episodes([3, 1, 2], [True, False, True])
    steps, bounds, last_observations = join_episodes("source", as_arrays(episodes))
    assert bounds.start.tolist() == [0, 3, 4]
    assert bounds.length.tolist() == [3, 1, 2]
    assert bounds.terminated.tolist() == [True, False, True]
    for number, episode in enumerate(episodes):
        place = slice(bounds.start[number], bounds.last[number] + 1)
        np.testing.assert_array_equal(steps.observations[place], episode.observations[:-1])
        np.testing.assert_array_equal(steps.actions[place], episode.actions)
        np.testing.assert_array_equal(steps.rewards[place], episode.rewards)
        np.testing.assert_array_equal(last_observations[number], episode.observations[-1])


def test_one_unknown_end_leaves_all_unknown():
    first, second = as_arrays(make_episodes([3, 2], [True, False]))
    cut = EpisodeArrays(**vars(second) | {"observations": second.observations[:2]})
    assert not cut.has_last_observation
    steps, _, last_observations = join_episodes("source", [first, cut])
    assert len(steps) == 5
    assert last_observations is None


def test_what_was_added_is_a_copy():
    (episode,) = as_arrays(make_episodes([3], [True]))
    writer = StepsWriter("source", 3)
    writer.add(episode)
    before = episode.actions.copy()
    episode.actions[:] = 0
    np.testing.assert_array_equal(writer.finish()[0].actions, before)


@pytest.mark.parametrize(("name", "size"), [("observations", 3), ("actions", 2)])
def test_sizes_must_agree(name, size):
    first, second = as_arrays(make_episodes([3, 2], [True, False]))
    wide = np.zeros((len(getattr(second, name)), 9))
    other = EpisodeArrays(**vars(second) | {name: wide})
    message = f"source: {name} of episode 1 have 9 entries, those of episode 0 have {size}"
    with pytest.raises(DatasetError, match=message):
        join_episodes("source", [first, other])


def test_no_episode_is_refused():
    with pytest.raises(DatasetError, match="source has no episode"):
        join_episodes("source", [])
