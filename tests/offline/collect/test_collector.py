import numpy as np
import pytest

from pbrl import envs
from pbrl.offline.collect.actors import ChangedActor, ScriptedExpert, UniformActor
from pbrl.offline.collect.collector import collect_episodes
from pbrl.offline.collect.episodes import Job
from pbrl.offline.collect.sources import Source


def collect(env_id, num_envs, numbers, *, actor=None, max_warm_up=0, seed=3, **options):
    """Return environment and episodes by number; actions are uniform unless said otherwise."""
    keep_states = options.pop("keep_states", False)
    env = envs.make(env_id, num_envs, backend="official", **options)
    acting = UniformActor(env.single_action_space.shape[0]) if actor is None else actor(env)
    jobs = iter([Job(source=0, number=k, seed=seed, max_warm_up=max_warm_up) for k in numbers])
    warm_up = ChangedActor(acting, Source(policy="x", scale=0.0, noise=1.0))
    found = collect_episodes(
        env, acting, lambda: next(jobs, None), warm_up=warm_up, keep_states=keep_states
    )
    return env, {job.number: episode for job, episode in found}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for number, episode in one.items():
        twin = other[number]
        for name in ("observations", "actions", "rewards"):
            np.testing.assert_array_equal(getattr(episode, name), getattr(twin, name))
        assert episode.terminated == twin.terminated


def noisy_expert(env):
    source = Source(policy="scripted", noise=0.3, scale=0.7, random=0.2)
    return ChangedActor(ScriptedExpert(env), source)


@pytest.mark.parametrize("max_warm_up", [0, 12])
@pytest.mark.parametrize(
    ("env_id", "limit", "actor"),
    [
        ("gym/Pendulum-v1", 20, None),
        ("gym/Hopper-v5", 60, None),  # terminates, at different times
        ("dmc/cartpole-swingup", 20, None),
        ("metaworld/door-open-v3-cpl", 20, noisy_expert),
    ],
)
def test_several_environments_collect_what_one_does(env_id, limit, actor, max_warm_up):
    options = {"max_episode_steps": limit, "max_warm_up": max_warm_up, "actor": actor}
    _, alone = collect(env_id, 1, range(5), **options)
    _, together = collect(env_id, 3, range(5), **options)
    assert_same(alone, together)
    _, some = collect(env_id, 2, [4, 1], **options)
    assert_same({k: alone[k] for k in (4, 1)}, some)
    assert len({episode.observations[0, 0] for episode in alone.values()}) == 5


def test_an_episode_holds_every_step_and_its_true_last_observation():
    env, episodes = collect("gym/Hopper-v5", 2, range(4))
    for number, episode in episodes.items():
        assert episode.observations.shape == (len(episode) + 1, 11)
        assert episode.terminated  # a hopper that acts at random falls
        alone = envs.make("gym/Hopper-v5", backend="official")
        seen, _ = alone.reset(seed=[Job(source=0, number=number, seed=3).env_seed])
        np.testing.assert_array_equal(seen[0], episode.observations[0])
        for step in range(len(episode)):
            seen, reward, terminated, _, infos = alone.step(episode.actions[step][None])
            assert reward[0] == episode.rewards[step]
            true_next = envs.final_observations(seen, infos)
            np.testing.assert_array_equal(true_next[0], episode.observations[step + 1])
        assert terminated[0]
        assert episode.successes is None


def test_a_warm_up_is_not_recorded():
    lengths = {}
    for seed in range(3):
        _, episodes = collect(
            "gym/Pendulum-v1", 2, range(6), max_episode_steps=30, max_warm_up=20, seed=seed
        )
        lengths |= {(seed, number): len(episode) for number, episode in episodes.items()}
    assert set(lengths.values()) <= set(range(10, 31))
    assert len(set(lengths.values())) > 5


def test_an_episode_that_ends_while_warming_up_is_empty():
    _, episodes = collect("gym/Hopper-v5", 2, range(12), max_warm_up=40)
    assert any(episode is None for episode in episodes.values())
    assert any(episode is not None for episode in episodes.values())


def test_a_warm_up_needs_somebody():
    env = envs.make("gym/Pendulum-v1", backend="official")
    job = Job(source=0, number=0, seed=1, max_warm_up=5)
    jobs = iter([job])
    with pytest.raises(ValueError, match="no actor is given for it"):
        list(collect_episodes(env, UniformActor(1), lambda: next(jobs, None)))


def test_success_belongs_to_the_step():
    _, episodes = collect("metaworld/drawer-open-v3-cpl", 1, [0], actor=ScriptedExpert)
    successes = episodes[0].successes
    assert successes.shape == (250,)
    assert not successes[0]
    assert successes[-1]


def test_states_bring_the_simulator_back():
    env, episodes = collect(
        "metaworld/plate-slide-v3-cpl", 2, range(2), max_episode_steps=20, keep_states=True
    )
    for step in (0, 7, 19):
        for number, episode in episodes.items():
            env.set_state(number, episode.state(step))
            seen = env.lanes[number].env._get_curr_obs_combined_no_goal()
            np.testing.assert_allclose(seen, episode.observations[step, :18], atol=1e-4)
            goal = env.lanes[number].env._target_pos
            np.testing.assert_allclose(goal, episode.observations[step, 32:35], atol=1e-6)
    with pytest.raises(ValueError, match="without simulator states"):
        collect("gym/Pendulum-v1", 1, [0], max_episode_steps=3)[1][0].state(0)


def test_an_environment_without_a_simulator_state_says_so():
    with pytest.raises(ValueError, match="gym/Pendulum-v1 has no simulator state to keep"):
        collect("gym/Pendulum-v1", 1, [0], keep_states=True)
