import numpy as np
import pytest

from pbrl.offline.collect.episode_files import EpisodeFiles
from pbrl.offline.collect.episodes import Episode


def episode(length=3, successes=True, states=True):
    rng = np.random.default_rng(length)
    return Episode(
        observations=rng.normal(size=(length + 1, 2)).astype(np.float32),
        actions=rng.uniform(-1, 1, (length, 1)).astype(np.float32),
        rewards=rng.normal(size=length).astype(np.float32),
        terminated=length % 2 == 0,
        successes=rng.random(length) < 0.5 if successes else None,
        states={"physics": rng.normal(size=(length, 4)), "model.body_pos": np.ones((1, 2, 3))}
        if states
        else {},
    )


@pytest.mark.parametrize(("successes", "states"), [(True, True), (False, False)])
def test_an_episode_comes_back_as_it_was(tmp_path, successes, states):
    files = EpisodeFiles(tmp_path / "episodes")
    saved = episode(4, successes, states)
    files.save(1, 12, saved)
    found = files.load(1, 12)
    for name in ("observations", "actions", "rewards", "successes"):
        np.testing.assert_array_equal(getattr(found, name), getattr(saved, name))
    assert found.terminated is True
    assert found.states.keys() == saved.states.keys()
    for name, value in saved.states.items():
        np.testing.assert_array_equal(found.states[name], value)


def test_the_lengths_are_those_of_one_source(tmp_path):
    files = EpisodeFiles(tmp_path)
    for source, number, length in ((0, 0, 3), (0, 7, 5), (1, 0, 2), (0, 1_000_000, 4)):
        files.save(source, number, episode(length))
    files.save(0, 2, None)
    assert files.lengths(0) == {0: 3, 2: 0, 7: 5, 1_000_000: 4}
    assert files.lengths(1) == {0: 2}
    assert files.load(0, 2) is None


def test_what_an_interruption_left_is_removed(tmp_path):
    files = EpisodeFiles(tmp_path)
    for number in range(3):
        files.save(0, number, episode())
    whole = (tmp_path / "episode-0-000001.npz").read_bytes()
    (tmp_path / "episode-0-000001.npz").write_bytes(whole[:-30])
    (tmp_path / "episode-0-000002.npz").write_bytes(b"")
    (tmp_path / "episode-0-000003.partial").write_bytes(whole[:100])
    (tmp_path / "notes.txt").write_text("mine")
    assert files.lengths(0) == {0: 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["episode-0-000000.npz", "notes.txt"]
