import numpy as np
import pytest

from pbrl.offline.checks import DatasetError
from pbrl.offline.labels import load_preferences
from pbrl.offline.load import find_kind, load_dataset
from tests.offline.dataset_files import (
    assert_same_episodes,
    d4rl_arrays,
    episodes_of,
    make_episodes,
    write_hdf5,
    write_minari,
    write_robomimic,
)


@pytest.fixture
def episodes():
    return make_episodes([4, 3], [True, False])


@pytest.fixture
def files(tmp_path, episodes):
    """One file of every kind, by kind."""
    paths = {kind: tmp_path / f"{kind}.hdf5" for kind in ("d4rl", "robomimic")}
    paths |= {kind: tmp_path / f"{kind}.npz" for kind in ("npz", "pairs")}
    write_hdf5(paths["d4rl"], d4rl_arrays(episodes))
    write_robomimic(paths["robomimic"], episodes)
    np.savez(paths["npz"], observations=np.zeros((4, 5, 3)), actions=np.zeros((4, 5, 2)))
    rng = np.random.default_rng(0)
    np.savez(
        paths["pairs"],
        **{f"obs_{number}": rng.random((4, 5, 3)) for number in (1, 2)},
        **{f"action_{number}": rng.uniform(-1, 1, (4, 5, 2)) for number in (1, 2)},
        label=np.array([0, 1, 0.5, 1]),
    )
    return paths


@pytest.mark.parametrize(
    ("kind", "num_episodes"), [("d4rl", 2), ("robomimic", 2), ("npz", 4), ("pairs", 8)]
)
def test_the_kind_of_a_file_is_seen(files, kind, num_episodes):
    path = files[kind]
    assert find_kind(path) == kind
    options = {"observation_keys": ("low", "high")} if kind == "robomimic" else {}
    for source in (path, str(path), f"{kind}:{path}"):
        dataset = load_dataset(source, **options)
        assert len(episodes_of(dataset)) == num_episodes
        assert dataset.info.family == kind


def test_pairs_are_those_of_the_labels(files):
    dataset = load_dataset(files["pairs"])
    index = load_preferences(files["pairs"], dataset).segments
    assert len(index) == 8
    assert dataset.replay.gather(index).observations.shape == (8, 5, 3)
    assert not dataset.has_last_observations


def test_h5_is_hdf5(files):
    path = files["d4rl"].rename(files["d4rl"].with_suffix(".h5"))
    assert find_kind(path) == "d4rl"


@pytest.mark.parametrize("kind", ["d4rl", "robomimic", "npz", "pairs"])
def test_settings_reach_the_loader(files, kind):
    keys = ("low", "high") if kind == "robomimic" else None
    settings = {"name": "hopper-medium-v2", "env": "gym/Hopper-v5", "goal_visible": True}
    dataset = load_dataset(files[kind], observation_keys=keys, **settings)
    found = {name: getattr(dataset.info, name) for name in settings}
    assert found == settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_episode_steps": 0}, "max_episode_steps must be at least 1, got 0"),
        ({"observation_keys": ()}, "observation_keys must name at least one key"),
    ],
)
def test_impossible_settings_are_refused(files, options, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(files["d4rl"], **options)


def test_minari_is_named_or_shown_by_its_folder(tmp_path, episodes, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    write_minari(tmp_path / "mine" / "test-v0", episodes)
    for source in ("minari:mine/test-v0", tmp_path / "mine" / "test-v0"):
        dataset = load_dataset(source)
        assert dataset.info.family == "minari"
        assert_same_episodes(episodes_of(dataset), episodes)
    with pytest.raises(DatasetError, match="no Minari dataset 'mine/other-v0'"):
        load_dataset("minari:mine/other-v0")


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="there is no dataset nowhere.*minari:mujoco/hopper"):
        load_dataset("nowhere")
    with pytest.raises(DatasetError, match="there is no dataset nowhere:at all"):
        load_dataset("nowhere:at all")
    with pytest.raises(DatasetError, match="a folder of Minari has data/metadata.json"):
        load_dataset(tmp_path)
    (tmp_path / "data.csv").write_text("")
    with pytest.raises(DatasetError, match="data.csv is no dataset: expected a file .hdf5"):
        load_dataset(tmp_path / "data.csv")
    for name in ("data.hdf5", "data.npz"):
        (tmp_path / name).write_text("")
        with pytest.raises(DatasetError, match=name):
            load_dataset(tmp_path / name)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.zeros(2)}, "D4RL's have observations, Robomimic's have data, found other"),
        ({}, "found nothing"),
        ({"episode_0/rewards": np.zeros(2)}, "is a part of a Minari dataset"),
    ],
)
def test_hdf5_of_another_kind_is_refused(tmp_path, arrays, message):
    write_hdf5(tmp_path / "data.hdf5", arrays)
    with pytest.raises(DatasetError, match=f"data.hdf5.*{message}"):
        load_dataset(tmp_path / "data.hdf5")
