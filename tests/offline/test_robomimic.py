import numpy as np
import pytest

from pbrl.offline.checks import DatasetError
from pbrl.offline.options import LoadOptions
from pbrl.offline.robomimic import OBSERVATION_KEYS, load_robomimic
from tests.offline.dataset_files import (
    assert_same_episodes,
    episodes_of,
    make_episodes,
    write_hdf5,
    write_robomimic,
)

KEYS = ("low", "high")


def load(path, keys=KEYS, **options):
    return load_robomimic(path, LoadOptions(observation_keys=keys, **options))


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "Lift" / "ph"
    folder.mkdir(parents=True)
    return folder / "low_dim.hdf5"


def test_demonstrations_come_in_the_order_of_their_names_as_text(path):
    episodes = make_episodes(range(2, 14), [number % 2 == 0 for number in range(12)])
    write_robomimic(path, episodes)
    dataset = load(path)
    order = [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    assert_same_episodes(episodes_of(dataset), [episodes[number] for number in order])
    assert dataset.has_last_observations
    assert (dataset.info.name, dataset.info.family) == ("lift-ph", "robomimic")
    assert dataset.info.metadata["robosuite_env"] == "Lift"
    assert dataset.info.metadata["observation_keys"] == "low, high"


@pytest.mark.parametrize("next_observations", [True, False])
def test_labels_number_the_steps_without_the_last_of_each_demonstration(path, next_observations):
    episodes = make_episodes([3, 2, 4], [True, False, False])
    write_robomimic(path, episodes, next_observations=next_observations)
    dataset = load(path)
    assert dataset.rows.episode.tolist() == [0, 0, 1, 2, 2, 2]
    assert dataset.rows.step.tolist() == [0, 1, 0, 0, 1, 2]
    lengths = [len(episode) for episode in episodes_of(dataset)]
    assert lengths == ([3, 2, 4] if next_observations else [3, 1, 3])


def test_without_next_observations_the_last_one_becomes_the_outcome(path):
    episodes = make_episodes([3], [False])
    write_robomimic(path, episodes, next_observations=False)
    (found,) = episodes_of(load(path))
    np.testing.assert_array_equal(found.observations, episodes[0].observations[:3])


def test_observations_are_put_together_as_asked(path):
    (episode,) = make_episodes([3], [True])
    write_robomimic(path, [episode])
    (found,) = episodes_of(load(path, ("high", "low")))
    np.testing.assert_array_equal(found.observations, episode.observations[:, [1, 2, 0]])


def test_files_that_lack_the_default_observation_are_told_apart(path):
    write_robomimic(path, make_episodes([3], [True]))
    with pytest.raises(DatasetError, match="lacks data/demo_0/obs/object; .* has actions"):
        load_robomimic(path, LoadOptions())
    assert OBSERVATION_KEYS[0] == "object"


def test_rewards_and_dones_may_be_missing(path):
    arrays = {
        "data/demo_0/actions": np.zeros((3, 2)),
        "data/demo_0/obs/low": np.arange(3.0),  # numbers count as vectors of one entry
        "data/demo_0/next_obs/low": np.arange(1, 4.0),
    }
    write_hdf5(path, arrays)
    (found,) = episodes_of(load(path, ("low",)))
    assert found.observations.tolist() == [[0], [1], [2], [3]]
    assert not found.rewards.any()
    assert not found.terminated


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("data/demo_0/actions", np.zeros((2, 2)), r"rewards has shape \(3,\)|low has shape \(3, 1"),
        ("data/demo_0/rewards", np.zeros(2), r"data/demo_0/rewards has shape \(2,\)"),
        ("data/demo_0/dones", np.full(3, 7), "data/demo_0/dones must hold 0 or 1, found 7"),
        ("data/demo_0/obs/low", np.zeros((2, 1)), r"demo_0/obs/low has shape \(2, 1\)"),
        ("data/demo_0/obs/low", np.zeros((3, 4, 4)), r"demo_0/obs/low has shape \(3, 4, 4\)"),
        ("data/demo_0/obs/low", np.full((3, 1), np.nan), "demo_0/obs/low must hold finite"),
        ("data/demo_1/actions", np.zeros((2, 5)), "actions of episode 1 have 5 entries, .* have 2"),
        ("data/other", np.zeros(2), "data must hold groups demo_0, .* found .*'other'"),
    ],
)
def test_bad_files_are_refused(path, name, array, message):
    write_robomimic(path, make_episodes([3, 2], [True, False]))
    import h5py

    with h5py.File(path, "a") as file:
        if name in file:
            del file[name]
        file[name] = array
    with pytest.raises(DatasetError, match=f"low_dim.hdf5.*({message})"):
        load(path)


def test_a_file_without_demonstrations_is_refused(path):
    write_hdf5(path, {"data": np.zeros(3)})
    with pytest.raises(DatasetError, match="data must hold groups demo_0"):
        load(path)
