import json

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from pbrl.offline.checks import DatasetError
from pbrl.offline.minari_reader import is_minari_folder, load_minari
from pbrl.offline.options import LoadOptions
from tests.offline.dataset_files import assert_same_episodes, episodes_of, make_episodes

pytestmark = pytest.mark.filterwarnings("ignore:.*env:UserWarning:minari")

ID = "mine/test-v0"
OBSERVATIONS = spaces.Box(-np.inf, np.inf, (3,), np.float32)
ACTIONS = spaces.Box(-1.0, 1.0, (2,), np.float32)


def load(source=ID, **options):
    return load_minari(source, LoadOptions(**options))


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """Minari's folder of datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def write(episodes, *, observation_space=OBSERVATIONS, action_space=ACTIONS, wrap=None, **fields):
    """Write episodes with Minari itself; `wrap` makes observations of vectors."""
    buffers = []
    for episode in episodes:
        is_last = np.arange(len(episode)) == len(episode) - 1
        buffers.append(
            EpisodeBuffer(
                observations=wrap(episode.observations) if wrap else episode.observations,
                actions=episode.actions,
                rewards=list(episode.rewards),
                terminations=list(is_last & episode.terminated),
                truncations=list(is_last & (not episode.terminated)),
            )
        )
    minari.create_dataset_from_buffers(
        ID,
        buffers,
        observation_space=observation_space,
        action_space=action_space,
        author="a",
        author_email="a@b",
        algorithm_name="random",
        code_permalink="https://c",
        description="d",
        **fields,
    )


def test_episodes_come_back_as_they_were(root):
    episodes = make_episodes([4, 1, 7, 3] * 3, [False, True, True, False] * 3)
    write(episodes)
    change_metadata(root, ref_min_score=-10.0, ref_max_score=90.0)
    for source in (ID, str(root / ID)):
        dataset = load(source)
        assert_same_episodes(episodes_of(dataset), episodes)
        assert dataset.has_last_observations
        info = dataset.info
        assert (info.name, info.family, info.env) == (ID, "minari", None)
        assert info.metadata["algorithm_name"] == "random"
        scores = info.reference
        assert (scores.random, scores.expert, scores.family) == (-10.0, 90.0, "minari")


def test_minaris_own_reader_sees_the_same(root):
    write(make_episodes([4, 7], [False, True]))
    ours = episodes_of(load())
    for one, other in zip(ours, minari.load_dataset(ID), strict=True):
        np.testing.assert_array_equal(one.observations, other.observations)
        np.testing.assert_array_equal(one.actions, other.actions)
        np.testing.assert_array_equal(one.rewards, other.rewards.astype(np.float32))
        assert one.terminated == other.terminations[-1]


@pytest.mark.parametrize(
    "score", ["-", None, "many", float("inf"), float("nan"), 10**400, True, 3.0]
)
def test_without_reference_scores_there_are_none(root, score):
    write(make_episodes([4], [True]))
    change_metadata(root, ref_min_score=3.0, ref_max_score=score)
    assert load().info.reference is None


def test_dict_observations_become_vectors_in_the_order_of_their_keys():
    episodes = make_episodes([4, 2], [True, False])
    space = spaces.Dict(
        {
            "goal": spaces.Box(-9, 9, (1,), np.float32),
            "achieved": spaces.Box(-9, 9, (2,), np.float32),
        }
    )
    write(
        episodes,
        observation_space=space,
        wrap=lambda array: {"goal": array[:, :1], "achieved": array[:, 1:]},
    )
    for found, episode in zip(episodes_of(load()), episodes, strict=True):
        np.testing.assert_array_equal(found.observations, episode.observations[:, [1, 2, 0]])


def test_actions_are_scaled_from_the_bounds_of_their_space():
    episodes = make_episodes([4], [True])
    low, high = np.array([-0.4, 0.0], np.float32), np.array([0.4, 2.0], np.float32)
    stored = make_episodes([4], [True])
    stored[0].actions = low + (episodes[0].actions + 1) / 2 * (high - low)
    stored[0].actions[0, 0] = 0.8
    write(stored, action_space=spaces.Box(low, high))
    dataset = load()
    (found,) = episodes_of(dataset)
    assert found.actions[0, 0] == 1.0
    np.testing.assert_allclose(found.actions[1:], episodes[0].actions[1:], atol=1e-6)
    assert json.loads(dataset.info.metadata["action_high"]) == pytest.approx([0.4, 2.0])
    assert dataset.info.metadata["clipped_actions"].startswith("1 of 8 numbers")


def test_an_episode_that_ends_in_between_is_several(root):
    (episode,) = make_episodes([6], [False])
    write([episode])
    with h5py.File(root / ID / "data" / "main_data.hdf5", "a") as file:
        file["episode_0/terminations"][1] = True
    found = episodes_of(load())
    assert [(len(part), part.terminated) for part in found] == [(2, True), (4, False)]
    np.testing.assert_array_equal(found[0].observations, episode.observations[:3])
    np.testing.assert_array_equal(found[1].observations, episode.observations[2:])


@pytest.mark.parametrize(
    ("spec", "env"),
    [
        (gymnasium.spec("Hopper-v5"), "gym/Hopper-v5"),
        (gymnasium.make("Hopper-v5", reset_noise_scale=0.1).spec, None),  # not by its id alone
    ],
)
def test_the_environment_is_known_where_its_id_says_it_all(spec, env):
    write(
        make_episodes([4], [True], observation_dim=11, action_dim=3),
        observation_space=spaces.Box(-np.inf, np.inf, (11,), np.float64),
        action_space=spaces.Box(-1.0, 1.0, (3,), np.float32),
        env=spec,
    )
    assert load().info.env == env
    assert load(env="gym/Hopper-v4").info.env == "gym/Hopper-v4"


def test_what_our_own_collection_noted_is_used(root):
    write(make_episodes([4], [True]))
    change_metadata(root, pbrl={"env": "metaworld/sweep-into-v3", "goal_visible": True})
    assert load().info.env == "metaworld/sweep-into-v3"
    assert load().info.goal_visible
    assert not load(goal_visible=False).info.goal_visible


def change_metadata(root, **fields) -> None:
    path = root / ID / "data" / "metadata.json"
    metadata = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in metadata.items() if value != "-"}))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data_format": "arrow"}, "data_format is 'arrow'; only 'hdf5'"),
        ({"total_episodes": 5}, "holds 2 episodes, its metadata.json says 5"),
        ({"observation_space": "-"}, "observation_space is no space that Minari knows"),
        ({"observation_space": 3}, "observation_space is no space that Minari knows"),
        ({"action_space": '{"type": "Orb"}'}, "action_space is no space that Minari knows"),
        ({"action_space": '{"type": "Discrete", "n": 3, "start": 0}'}, "must be a bounded Box"),
        (
            {
                "action_space": '{"type": "Box", "dtype": "float32", "shape": [1],'
                ' "low": [-Infinity], "high": [1]}'
            },
            "must be a bounded Box",
        ),
        (
            {
                "action_space": '{"type": "Box", "dtype": "float32", "shape": [2],'
                ' "low": [0, 0], "high": [1, 0]}'
            },
            "action_space is empty",
        ),
        (
            {
                "observation_space": '{"type": "Box", "dtype": "float32", "shape": [4],'
                ' "low": [0, 0, 0, 0], "high": [1, 1, 1, 1]}'
            },
            r"episode_0/observations has shape \(4, 3\), expected \(4, 4\)",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_metadata_are_refused(root, fields, message):
    write(make_episodes([3, 2], [True, False]))
    change_metadata(root, **fields)
    with pytest.raises(DatasetError, match=message):
        load()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("episode_0/rewards", None, "lacks episode_0/rewards"),
        ("episode_0/rewards", np.zeros(4), r"episode_0/observations has shape \(4, 3\), .* \(5,"),
        ("episode_0/observations", np.zeros((3, 3)), r"episode_0/observations has shape \(3, 3\)"),
        ("episode_1/actions", np.full((2, 2), np.nan), "episode_1/actions must hold finite"),
        ("episode_1/truncations", np.full(2, 3), "episode_1/truncations must hold 0 or 1"),
        ("episode_7/rewards", np.zeros(3), "must hold episode_0, episode_1, ..., found"),
        ("episode_1", None, "holds 1 episodes, its metadata.json says 2"),
    ],
)
def test_bad_files_are_refused(root, name, array, message):
    write(make_episodes([3, 2], [True, False]))
    with h5py.File(root / ID / "data" / "main_data.hdf5", "a") as file:
        if name in file:
            del file[name]
        if array is not None:
            file[name] = array
    with pytest.raises(DatasetError, match=f"main_data.hdf5.*{message}"):
        load()


def test_bad_json_is_refused(root):
    write(make_episodes([3], [True]))
    (root / ID / "data" / "metadata.json").write_text("{")
    with pytest.raises(DatasetError, match="metadata.json cannot be read as JSON"):
        load()
    (root / ID / "data" / "metadata.json").write_text("[]")
    with pytest.raises(DatasetError, match="must hold a JSON object, found list"):
        load()


def test_a_dataset_that_is_not_there_is_fetched_only_when_asked(root, monkeypatch):
    with pytest.raises(DatasetError, match=r"no Minari dataset 'mine/test-v0' .*download=True"):
        load()
    asked = []

    def fetch(dataset_id):
        asked.append(dataset_id)
        write(make_episodes([3], [True]))

    monkeypatch.setattr(minari, "download_dataset", fetch)
    assert load(download=True).replay.num_steps == 3
    assert load(download=True).replay.num_steps == 3
    assert asked == [ID]
    assert is_minari_folder(root / ID)
