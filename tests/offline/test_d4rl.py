import hashlib

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.offline import d4rl
from pbrl.offline.checks import DatasetError
from pbrl.offline.d4rl import load_d4rl
from pbrl.offline.options import LoadOptions
from pbrl.offline.rows import locate_rows
from tests.offline.dataset_files import (
    Episode,
    assert_same_episodes,
    d4rl_arrays,
    episodes_of,
    make_episodes,
    write_hdf5,
)


def load(path, **options):
    return load_d4rl(path, LoadOptions(**options))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hopper_medium_expert-v2.hdf5"


@pytest.mark.parametrize("chunk", [1, 3, 65_536])
def test_episodes_come_back_as_they_were(path, chunk, monkeypatch):
    monkeypatch.setattr(d4rl, "_CHUNK", chunk)
    episodes = make_episodes([4, 1, 7, 3], [False, True, True, False])
    write_hdf5(path, d4rl_arrays(episodes))
    dataset = load(path)
    assert_same_episodes(episodes_of(dataset), episodes)
    assert dataset.has_last_observations
    info = dataset.info
    assert (info.name, info.family, info.env) == (
        "hopper-medium-expert-v2",
        "d4rl",
        "gym/Hopper-v4",
    )
    assert info.reference.family == "d4rl-v2"
    assert info.checksum == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.metadata == {}


def test_no_learner_sees_true_rewards_by_oversight(path):
    write_hdf5(path, d4rl_arrays(make_episodes([4, 5], [True, False])))
    batch = load(path).replay.sample(20, torch.Generator().manual_seed(0))
    assert not batch.rewards.any()


def test_the_end_of_the_file_cuts_the_last_episode(path):
    episodes = make_episodes([3, 4], [True, False])
    arrays = d4rl_arrays(episodes)
    arrays["timeouts"][-1] = False
    write_hdf5(path, arrays)
    assert_same_episodes(episodes_of(load(path)), episodes)


def test_a_terminal_at_a_timeout_is_terminal(path):
    arrays = d4rl_arrays(make_episodes([3, 4], [True, False]))
    arrays["timeouts"][2] = True
    write_hdf5(path, arrays)
    dataset = load(path)
    assert episodes_of(dataset)[0].terminated
    assert dataset.rows.step.tolist() == [0, 1, 0, 1, 2]  # D4RL leaves it out all the same


def test_without_next_observations_cut_episodes_lose_the_step_nobody_knows_the_outcome_of(path):
    first, second, third = make_episodes([4, 3, 1], [False, True, False])
    write_hdf5(path, d4rl_arrays([first, second, third]) | {"next_observations": None})
    dataset = load(path)
    cut = Episode(first.observations[:4], first.actions[:3], first.rewards[:3], terminated=False)
    ended = Episode(
        np.concatenate([second.observations[:3], second.observations[2:3]]),  # nobody asks
        second.actions,
        second.rewards,
        terminated=True,
    )
    assert_same_episodes(episodes_of(dataset), [cut, ended])
    assert dataset.rows.episode.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.rows.step.tolist() == [0, 1, 2, 0, 1, 2]


def test_rows_are_numbered_as_by_d4rl(path):
    episodes = make_episodes([3, 2, 4], [False, True, False])
    write_hdf5(path, d4rl_arrays(episodes))
    rows = load(path).rows
    # Rows 2 (time-out) and 8 (the last of the file) are missing, row 4 (a terminal) is not.
    assert rows.episode.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert rows.step.tolist() == [0, 1, 0, 1, 0, 1, 2]


def qlearning_view(arrays: dict) -> tuple[list, list]:
    """Return observations and next observations of D4RL's Q-learning view, one row at a time."""
    kept = [row for row in range(len(arrays["rewards"]) - 1) if not arrays["timeouts"][row]]
    observations = arrays["observations"]
    return [observations[row] for row in kept], [observations[row + 1] for row in kept]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=8), st.booleans())
def test_windows_of_rows_lead_to_what_was_labelled(tmp_path_factory, shape, has_next):
    lengths, terminated = zip(*shape, strict=True)
    arrays = d4rl_arrays(make_episodes(lengths, terminated))
    path = tmp_path_factory.mktemp("rows") / "pen-human-v1.hdf5"
    write_hdf5(path, arrays if has_next else arrays | {"next_observations": None})
    if not (has_next or any(terminated) or max(lengths) > 1):
        with pytest.raises(DatasetError, match="holds no transition"):
            load(path)
        return
    dataset = load(path)
    observations, following = qlearning_view(arrays)
    assert len(dataset.rows) == len(observations)
    for row in range(len(observations)):
        index = locate_rows(dataset.rows, np.array([row]), np.array([1]))
        segments = dataset.replay.gather(index)
        np.testing.assert_array_equal(segments.observations[0, 0], observations[row])
    for row in range(len(observations) - 1):
        continues = np.array_equal(following[row], observations[row + 1])
        ends = dataset.rows.episode[row] != dataset.rows.episode[row + 1]
        assert ends or continues


def test_without_timeouts_the_limit_of_the_environment_tells_them(tmp_path):
    path = tmp_path / "mine.hdf5"
    episodes = make_episodes([2, 4, 4, 1], [True, False, False, False])
    write_hdf5(path, d4rl_arrays(episodes) | {"timeouts": None})
    with pytest.raises(DatasetError, match="mine.hdf5 lacks timeouts.*max_episode_steps"):
        load(path)
    dataset = load(path, max_episode_steps=4)
    assert_same_episodes(episodes_of(dataset), episodes)
    # D4RL's counter sees the time-outs after a terminal one step too early: rows 4 and 8.
    assert dataset.rows.episode.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert dataset.rows.step.tolist() == [0, 1, 0, 1, 3, 0, 1, 3]


def test_a_name_brings_the_time_limit(tmp_path):
    path = tmp_path / "mine.hdf5"
    episodes = make_episodes([100, 30], [False, False])
    write_hdf5(path, d4rl_arrays(episodes) | {"timeouts": None})
    dataset = load(path, name="pen-expert-v0")
    assert_same_episodes(episodes_of(dataset), episodes)
    assert dataset.info.reference.family == "d4rl-v0"


def test_episodes_end_where_the_next_observation_is_another(path):
    episodes = make_episodes([3, 4], [False, False])
    arrays = d4rl_arrays(episodes)
    arrays["timeouts"][:] = False
    write_hdf5(path, arrays)
    assert_same_episodes(episodes_of(load(path)), episodes)


def test_shuffled_rows_are_refused(path):
    arrays = d4rl_arrays(make_episodes([20], [False]))
    order = np.random.default_rng(0).permutation(20)
    write_hdf5(path, {name: array[order] for name, array in arrays.items()})
    with pytest.raises(DatasetError, match="not in the order of time"):
        load(path)


def test_ants_walk_on_after_the_goal(tmp_path):
    path = tmp_path / "antmaze-umaze-v2.hdf5"
    place = np.concatenate([np.linspace(0, 2, 8), np.linspace(9, 10, 6)])
    observations = np.stack([place, np.zeros(14), np.arange(14.0)], 1)
    terminals, timeouts = np.zeros(14), np.zeros(14)
    terminals[[4, 5, 6, 7]] = 1  # at the goal; after the last of them the ant is put elsewhere
    timeouts[11] = 1
    actions, rewards = np.zeros((14, 2)), terminals
    arrays = {"observations": observations, "actions": actions, "rewards": rewards}
    write_hdf5(path, arrays | {"terminals": terminals, "timeouts": timeouts})
    dataset = load(path)
    found = [(len(episode), episode.terminated) for episode in episodes_of(dataset)]
    assert found == [(8, True), (3, False), (1, False)]
    index = locate_rows(dataset.rows, np.array([2]), np.array([6]))
    assert dataset.replay.gather(index).observations[0, :, 2].tolist() == [2, 3, 4, 5, 6, 7]
    assert dataset.info.env is None


def test_known_environments_clip_actions_and_the_dataset_says_so(tmp_path):
    episodes = make_episodes([3], [True])
    episodes[0].actions[1, 0] = 1.5
    known, other = tmp_path / "pen-cloned-v1.hdf5", tmp_path / "other.hdf5"
    for path in (known, other):
        write_hdf5(path, d4rl_arrays(episodes))
    dataset = load(known)
    assert episodes_of(dataset)[0].actions[1, 0] == 1.0
    assert dataset.info.metadata["clipped_actions"].startswith("1 of 6 numbers")
    with pytest.raises(DatasetError, match=r"other.hdf5: actions must lie in \[-1, 1\].* to 1.5"):
        load(other)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_other_precisions_and_columns_are_read(path, dtype):
    episodes = make_episodes([3, 4], [True, False])
    arrays = {name: array.astype(dtype) for name, array in d4rl_arrays(episodes).items()}
    for name in ("rewards", "terminals", "timeouts"):
        arrays[name] = arrays[name][:, None]
    write_hdf5(path, arrays)
    found = episodes_of(load(path))
    assert [len(episode) for episode in found] == [3, 4]
    np.testing.assert_allclose(found[0].rewards, episodes[0].rewards, rtol=1e-3)
    assert found[0].actions.dtype == np.float32


def test_an_environment_can_be_given(path):
    write_hdf5(path, d4rl_arrays(make_episodes([3], [True])))
    assert load(path, env="gym/Hopper-v5").info.env == "gym/Hopper-v5"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": None}, "lacks rewards; / has actions, next_observations, observations"),
        ({"rewards": np.zeros(6)}, r"rewards has shape \(6,\), expected \(7\)"),
        ({"actions": np.zeros((6, 2))}, r"actions has shape \(6, 2\), expected \(7, any\)"),
        ({"actions": np.zeros(7)}, r"actions has shape \(7,\), expected \(7, any\)"),
        ({"observations": np.zeros((7, 3, 2))}, r"observations has shape \(7, 3, 2\)"),
        ({"observations": np.zeros((0, 3))}, r"observations has shape \(0, 3\)"),
        ({"observations": np.zeros((7, 0))}, r"observations has shape \(7, 0\)"),
        ({"next_observations": np.zeros((7, 2))}, r"next_observations has shape \(7, 2\)"),
        ({"rewards": np.full(7, np.nan)}, "rewards must hold finite .* 7 of 7 rows .* row 0: nan"),
        ({"rewards": np.full(7, 1e300)}, "rewards must hold finite numbers of single precision"),
        ({"actions": np.full((7, 2), np.inf)}, "actions must hold finite numbers"),
        ({"next_observations": np.full((7, 3), np.nan)}, "next_observations, rows from 0 must"),
        ({"terminals": np.full(7, 2.0)}, "terminals must hold 0 or 1, found 2.0"),
        ({"terminals": np.zeros(3)}, r"terminals has shape \(3,\), expected \(7\)"),
        ({"timeouts": np.full(7, np.nan)}, "timeouts must hold 0 or 1, found nan"),
        ({"rewards": np.array([b"a"] * 7)}, r"rewards holds \|S1, expected numbers"),
        ({"rewards": np.zeros(7, np.complex64)}, "rewards holds complex64, expected numbers"),
        ({"rewards": 1.0}, r"rewards has shape \(\), expected \(7\)"),
        ({"rewards": h5py.Empty("f")}, "rewards holds float32, expected numbers"),
        ({"rewards": None, "rewards/one": np.zeros(7)}, "rewards is a Group, expected an array"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_files_are_refused(path, change, message):
    write_hdf5(path, d4rl_arrays(make_episodes([3, 4], [True, False])) | change)
    with pytest.raises(DatasetError, match=f"hopper_medium_expert-v2.hdf5.*{message}"):
        load(path)


def test_what_is_no_hdf5_is_refused(tmp_path):
    path = tmp_path / "data.hdf5"
    with pytest.raises(DatasetError, match="there is no file .*data.hdf5"):
        load(path)
    path.write_bytes(b"no HDF5")
    with pytest.raises(DatasetError, match="data.hdf5 cannot be read as HDF5"):
        load(path)


def test_a_declared_size_that_is_not_there_takes_no_memory(path):
    arrays = d4rl_arrays(make_episodes([3], [True]))
    write_hdf5(path, arrays | {"observations": None})
    with h5py.File(path, "a") as file:
        file.create_dataset("observations", (2**40, 11), np.float32, chunks=(1024, 11))
    with pytest.raises(DatasetError, match="observations declares .* bytes, but the file holds 0"):
        load(path)
