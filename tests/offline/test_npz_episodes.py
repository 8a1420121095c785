import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.offline.checks import DatasetError
from pbrl.offline.episode_arrays import EpisodeArrays
from pbrl.offline.npz_episodes import load_npz, save_episodes
from pbrl.offline.options import LoadOptions
from tests.offline.dataset_files import assert_same_episodes, episodes_of, make_episodes


def load(path, **options):
    return load_npz(path, LoadOptions(**options))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


def as_arrays(episodes) -> list[EpisodeArrays]:
    return [EpisodeArrays(**vars(episode)) for episode in episodes]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=6))
def test_what_was_saved_is_loaded(tmp_path_factory, shape):
    path = tmp_path_factory.mktemp("npz") / "mine.npz"
    episodes = make_episodes(*zip(*shape, strict=True))
    save_episodes(path, as_arrays(episodes))
    dataset = load(path, env="gym/Hopper-v5")
    assert_same_episodes(episodes_of(dataset), episodes)
    assert dataset.has_last_observations
    info = dataset.info
    assert (info.name, info.family, info.env) == ("mine", "npz", "gym/Hopper-v5")


def test_last_observations_may_be_unknown(path):
    episodes = make_episodes([3, 4], [True, False])
    cut = as_arrays(episodes)
    for number, episode in enumerate(episodes):
        cut[number] = EpisodeArrays(
            **vars(episode) | {"observations": episode.observations[: len(episode)]}
        )
    save_episodes(path, cut)
    dataset = load(path)
    assert not dataset.has_last_observations
    assert [len(episode) for episode in episodes_of(dataset)] == [3, 4]


def test_actions_in_a_unit_of_their_own(path):
    (episode,) = make_episodes([3], [True])
    torque = EpisodeArrays(**vars(episode) | {"actions": 40.0 * episode.actions})
    with pytest.raises(DatasetError, match=r"mine.npz: actions must lie in \[-1, 1\]"):
        save_episodes(path, [torque])
    assert not path.exists()
    bounds = {"action_low": np.full(2, -40.0), "action_high": np.full(2, 40.0)}
    save_episodes(path, [torque], **bounds)
    dataset = load(path)
    np.testing.assert_allclose(episodes_of(dataset)[0].actions, episode.actions, atol=1e-6)
    assert dataset.info.metadata["action_high"] == "[40.0, 40.0]"
    assert torque.actions.max() > 1  # what came in stays


def test_loose_segments_become_episodes(path):
    rng = np.random.default_rng(0)
    observations, actions = rng.random((5, 8, 3)), rng.random((5, 8, 2))
    np.savez(path, observations=observations, actions=actions)
    dataset = load(path)
    found = episodes_of(dataset)
    assert [(len(episode), episode.terminated) for episode in found] == [(8, False)] * 5
    np.testing.assert_allclose(found[3].observations[:8], observations[3], rtol=1e-6)
    assert not dataset.has_last_observations
    assert dataset.info.metadata["rewards"] == "none, taken as 0"


def good() -> dict[str, np.ndarray]:
    return {
        "observations": np.zeros((7, 3)),
        "actions": np.zeros((7, 2)),
        "rewards": np.zeros(7),
        "lengths": np.array([3, 4]),
        "terminated": np.array([True, False]),
        "last_observations": np.zeros((2, 3)),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": None}, "lacks actions and has "),
        ({"lengths": None}, "lacks lengths"),
        ({"lengths": np.array([3, 5])}, "lengths of 2 episodes, .* must add up to the 7 steps"),
        ({"lengths": np.array([7, 0])}, "lengths must be at least 1, found 0: an empty episode"),
        ({"lengths": np.array([2**63 - 1, -(2**63) + 8])}, "lengths must be at least 1"),
        ({"lengths": np.array([2**63 - 1, 2**63 - 1, 9])}, "the longest of 9223372036854775807"),
        ({"lengths": np.array([3.0, 4.0])}, "lengths holds float64, expected whole numbers"),
        ({"terminated": np.array([True])}, r"terminated has shape \(1,\), expected \(2\)"),
        ({"terminated": np.array([0.5, 1])}, "terminated must hold 0 or 1, found 0.5"),
        ({"last_observations": np.zeros((2, 4))}, r"last_observations has shape \(2, 4\)"),
        ({"last_observations": np.full((2, 3), np.inf)}, "last_observations must hold finite"),
        ({"observations": np.zeros((7, 3, 2))}, "lengths belongs to flat observations"),
        ({"observations": np.zeros(7)}, r"observations has shape \(7,\)"),
        ({"observations": np.array([{}] * 7)}, "observations cannot be read: .* expected numbers"),
        ({"rewards": np.zeros(6)}, r"rewards has shape \(6,\), expected \(7\)"),
        ({"actions": np.full((7, 2), np.nan)}, "actions must hold finite numbers"),
        ({"action_low": np.zeros(2)}, "has action_low alone"),
        (
            {"action_low": np.zeros(2), "action_high": np.zeros(2)},
            r"action_low .* must be below action_high",
        ),
        ({"action_low": np.zeros(2), "action_high": np.ones(3)}, r"action_high has shape \(3,\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_files_are_refused(path, change, message):
    arrays = {name: array for name, array in (good() | change).items() if array is not None}
    np.savez(path, **arrays, allow_pickle=True)
    with pytest.raises(DatasetError, match=f"mine.npz.*{message}"):
        load(path)


def test_loose_segments_must_agree(path):
    np.savez(path, observations=np.zeros((5, 8, 3)), actions=np.zeros((5, 7, 2)))
    with pytest.raises(DatasetError, match=r"actions has shape \(5, 7, 2\), expected 5 segments"):
        load(path)


def test_what_is_no_npz_is_refused(path):
    with pytest.raises(DatasetError, match="there is no file .*mine.npz"):
        load(path)
    path.write_bytes(b"no zip")
    with pytest.raises(DatasetError, match="mine.npz is not an NPZ archive"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.zeros(2)}, r"episode 1: rewards has shape \(2,\), expected \(3\)"),
        ({"observations": np.zeros((5, 3))}, r"episode 1: observations has shape \(5, 3\)"),
        ({"observations": np.zeros((4, 9))}, "observations of episode 1 have 9 entries"),
        ({"actions": np.zeros((0, 2))}, r"episode 1: actions has shape \(0, 2\)"),
        ({"rewards": np.full(3, np.nan)}, "episode 1: rewards must hold finite"),
    ],
)
def test_bad_episodes_are_not_written(path, change, message):
    first, second = make_episodes([3, 3], [True, False])
    wrong = EpisodeArrays(**vars(second) | change)
    with pytest.raises(DatasetError, match=f"mine.npz.*{message}"):
        save_episodes(path, [EpisodeArrays(**vars(first)), wrong])
    assert not path.exists()


def test_no_episode_is_not_written(path):
    with pytest.raises(DatasetError, match="mine.npz has no episode"):
        save_episodes(path, [])
