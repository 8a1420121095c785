"""Hundreds of damaged files: each loads cleanly or is refused by name."""

import shutil

import h5py
import numpy as np
import pytest

from pbrl.offline.checks import DatasetError
from pbrl.offline.episode_arrays import EpisodeArrays
from pbrl.offline.load import load_dataset
from pbrl.offline.npz_episodes import save_episodes
from tests.offline.dataset_files import (
    d4rl_arrays,
    make_episodes,
    write_hdf5,
    write_minari,
    write_robomimic,
)

NUM_MUTATIONS = 60


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A valid dataset of every kind: what to load, and the file to damage."""
    root = tmp_path_factory.mktemp("valid")
    episodes = make_episodes([5, 1, 8], [False, True, False])
    write_hdf5(root / "d4rl.hdf5", d4rl_arrays(episodes))
    write_robomimic(root / "robomimic.hdf5", episodes)
    save_episodes(root / "npz.npz", [EpisodeArrays(**vars(episode)) for episode in episodes])
    write_minari(root / "minari", episodes)
    return {
        "d4rl": (root / "d4rl.hdf5", "d4rl.hdf5"),
        "robomimic": (root / "robomimic.hdf5", "robomimic.hdf5"),
        "npz": (root / "npz.npz", "npz.npz"),
        "minari": (root / "minari", "minari/data/main_data.hdf5"),
        "metadata": (root / "minari", "minari/data/metadata.json"),
    }


def load_or_refuse(path) -> bool:
    """Return whether a dataset was loaded; whatever is raised else is a fault."""
    keys = ("low", "high") if path.name.startswith("robomimic") else None
    refusal = ""
    try:
        dataset = load_dataset(path, observation_keys=keys)
    except DatasetError as error:
        refusal = str(error)
    if refusal:
        assert path.name in refusal
        return False
    replay = dataset.replay
    assert int(replay.episode_lengths(replay.completed_episodes()).sum()) == replay.num_steps
    assert replay.all_observations().isfinite().all()
    return True


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut a file off, or change, remove or add some of its bytes."""
    data = bytearray(content)
    place = int(rng.integers(len(data)))
    size = int(rng.integers(1, 16))
    match rng.integers(6):
        case 0:
            return bytes(data[:place])
        case 1:
            data[place] ^= 1 << int(rng.integers(8))
        case 2:
            data[place : place + size] = rng.bytes(size)
        case 3:
            data[place : place + size] = bytes(size)
        case 4:
            del data[place : place + size]
        case 5:
            data[place:place] = rng.bytes(size)
    return bytes(data)


@pytest.mark.parametrize("kind", ["d4rl", "robomimic", "npz", "minari", "metadata"])
def test_damaged_files_load_or_are_refused(tmp_path, valid, kind):
    source, file = valid[kind]
    root = tmp_path / "copy"
    shutil.copytree(source.parent, root)
    copy = root / source.name
    content = (root / file).read_bytes()
    rng = np.random.default_rng(len(content))
    outcomes = []
    for _ in range(NUM_MUTATIONS):
        (root / file).write_bytes(damage(content, rng))
        outcomes.append(load_or_refuse(copy))
    assert 0 < sum(outcomes) < NUM_MUTATIONS


def other_array(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an array of another shape, type or content."""
    match rng.integers(8):
        case 0:
            return array[: len(array) // 2]
        case 1:
            return array[..., None]
        case 2:
            return array.reshape(-1)
        case 3:
            return np.array([b"text"] * len(array))
        case 4:
            return array.astype(np.complex64)
        case 5:
            return np.concatenate([array, array])
        case 6:
            return array[:0]
        case _:
            changed = array.astype(np.float64)
            place = rng.integers(changed.size)
            changed.flat[place] = rng.choice([np.nan, np.inf, -1e308, 7.5, -3])
            return changed


@pytest.mark.parametrize("kind", ["d4rl", "robomimic", "minari"])
def test_hdf5_with_other_arrays_loads_or_is_refused(tmp_path, valid, kind):
    source, file = valid[kind]
    root = tmp_path / "copy"
    shutil.copytree(source.parent, root)
    content = (root / file).read_bytes()
    rng = np.random.default_rng(0)
    outcomes = []
    for _ in range(NUM_MUTATIONS):
        (root / file).write_bytes(content)
        with h5py.File(root / file, "a") as stored:
            names: list[str] = []
            stored.visititems(
                lambda name, item, names=names: (
                    names.append(name) if hasattr(item, "dtype") else None
                )
            )
            name = names[int(rng.integers(len(names)))]
            array = stored[name][()]
            del stored[name]
            if rng.random() < 0.9:
                stored[name] = other_array(array, rng)
        outcomes.append(load_or_refuse(root / source.name))
    assert 0 < sum(outcomes) < NUM_MUTATIONS


def test_npz_with_other_arrays_loads_or_is_refused(tmp_path, valid):
    with np.load(valid["npz"][0], allow_pickle=False) as file:
        arrays = dict(file)
    rng = np.random.default_rng(0)
    path = tmp_path / "npz.npz"
    outcomes = []
    for _ in range(NUM_MUTATIONS):
        changed = dict(arrays)
        name = str(rng.choice(list(arrays)))
        array = changed.pop(name)
        if rng.random() < 0.9:
            changed[name] = other_array(array, rng)
        np.savez(path, **changed)
        outcomes.append(load_or_refuse(path))
    assert 0 < sum(outcomes) < NUM_MUTATIONS
