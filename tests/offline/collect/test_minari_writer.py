from pathlib import Path

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium import spaces

from pbrl import envs
from pbrl.offline.collect.actors import UniformActor
from pbrl.offline.collect.collector import collect_episodes
from pbrl.offline.collect.episodes import Job, stored_state
from pbrl.offline.collect.minari_writer import write_minari


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


def collect(env, count, keep_states=False):
    jobs = iter([Job(source=0, number=k, seed=0) for k in range(count)])
    actor = UniformActor(env.single_action_space.shape[0])
    found = collect_episodes(env, actor, lambda: next(jobs, None), keep_states=keep_states)
    return [(episode, {"source": 0, "number": job.number}) for job, episode in found]


def test_minari_reads_what_was_collected(root):
    env = envs.make("gym/Hopper-v5", 2, backend="official")
    episodes = collect(env, 60)
    write_minari(root / "hopper/random-v0", "hopper/random-v0", episodes, env, {"pbrl": {"a": [1]}})
    dataset = minari.load_dataset("hopper/random-v0")
    assert dataset.total_episodes == 60
    assert dataset.total_steps == sum(len(episode) for episode, _ in episodes)
    assert dataset.storage.metadata["pbrl"]["a"] == [1]
    assert dataset.storage.metadata["dataset_id"] == "hopper/random-v0"
    assert "hopper/random-v0" in minari.list_local_datasets()
    for number in (0, 49, 50, 59):
        found, (episode, expected) = dataset[number], episodes[number]
        np.testing.assert_array_equal(found.observations, episode.observations)
        np.testing.assert_array_equal(found.actions, episode.actions)
        np.testing.assert_array_equal(found.rewards, episode.rewards)
        assert found.terminations.tolist() == [False] * (len(episode) - 1) + [episode.terminated]
        assert found.truncations[-1] != episode.terminated
        attributes = next(iter(dataset.storage.get_episode_metadata([number])))
        assert {name: attributes[name] for name in expected} == expected
    assert dataset.recover_environment().spec.id == "Hopper-v5"


def test_actions_are_in_the_unit_of_the_environment(root):
    env = envs.make("gym/Pendulum-v1", backend="official", max_episode_steps=20)
    episodes = collect(env, 1)
    write_minari(root / "p-v0", "p-v0", episodes, env, {})
    dataset = minari.load_dataset("p-v0")
    assert dataset.action_space == spaces.Box(-2.0, 2.0, (1,))
    np.testing.assert_allclose(dataset[0].actions, 2 * episodes[0][0].actions, rtol=1e-6)
    again = gymnasium.make("Pendulum-v1")
    again.reset(seed=Job(source=0, number=0, seed=0).env_seed)
    for step, action in enumerate(dataset[0].actions):
        assert again.step(action)[1] == pytest.approx(dataset[0].rewards[step], abs=1e-4)


def test_states_and_success_are_infos(root):
    env = envs.make("metaworld/reach-v3-cpl", backend="official", max_episode_steps=5)
    episodes = collect(env, 1, keep_states=True)
    write_minari(root / "r-v0", "r-v0", episodes, env, {})
    infos = minari.load_dataset("r-v0")[0].infos
    assert infos["success"].tolist() == [False, *episodes[0][0].successes.tolist()]
    env.set_state(0, stored_state(infos["state"], 3))
    hand = env.lanes[0].env.get_endeff_pos()
    np.testing.assert_allclose(hand, episodes[0][0].observations[3, :3], atol=1e-4)


def test_a_relative_folder_will_do(root, monkeypatch):
    monkeypatch.chdir(root)
    env = envs.make("gym/Pendulum-v1", backend="official", max_episode_steps=5)
    write_minari(Path("a-v0"), "a-v0", collect(env, 1), env, {})
    assert minari.load_dataset("a-v0").total_steps == 5


def test_equal_content_has_an_equal_checksum(root):
    env = envs.make("gym/Pendulum-v1", 2, backend="official", max_episode_steps=20)
    episodes = collect(env, 3)
    first = write_minari(root / "a-v0", "a-v0", episodes, env, {})
    assert write_minari(root / "b-v0", "b-v0", episodes, env, {"pbrl": {"x": 1}}) == first
    assert write_minari(root / "c-v0", "c-v0", episodes[::-1], env, {}) != first
    assert minari.load_dataset("b-v0").storage.metadata["pbrl"] == {"x": 1, "checksum": first}


def test_a_dataset_is_there_whole_or_not_at_all(root):
    env = envs.make("gym/Pendulum-v1", backend="official", max_episode_steps=20)
    episodes = collect(env, 2)

    def failing():
        yield episodes[0]
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_minari(root / "a-v0", "a-v0", failing(), env, {})
    with pytest.raises(FileNotFoundError):
        minari.load_dataset("a-v0")
    write_minari(root / "a-v0", "a-v0", episodes, env, {})
    with pytest.raises(FileExistsError, match="there is a dataset in"):
        write_minari(root / "a-v0", "a-v0", episodes, env, {})
    with pytest.raises(ValueError, match="no episode"):
        write_minari(root / "b-v0", "b-v0", [], env, {})
    assert sorted(minari.list_local_datasets()) == ["a-v0"]
