import gymnasium
import numpy as np
import pytest

from pbrl import envs


class Goal(gymnasium.Env):
    """Observations in a nested dictionary, with a Discrete part."""

    observation_space = gymnasium.spaces.Dict(
        b=gymnasium.spaces.Discrete(3), a=gymnasium.spaces.Box(-1, 1, (2, 2))
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2, 1))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"b": 2, "a": np.eye(2, dtype=np.float32)}, {}

    def step(self, action):
        assert action.shape == (2, 1)
        return self.reset()[0], 0.0, False, False, {}


def test_dictionaries_and_shapes_are_flattened():
    env = envs.make(Goal)
    observations, _ = env.reset()
    assert observations.tolist() == [[0, 0, 1, 1, 0, 0, 1]]
    assert env.step(np.zeros((1, 2)))[0].shape == (1, 7)


def test_the_time_limit_truncates_and_never_terminates():
    env = envs.make("gym/Pendulum-v1", 1, backend="official")
    env.reset()
    for number in range(1, 201):
        _, _, terminated, truncated, _ = env.step(np.zeros((1, 1)))
        assert bool(truncated[0]) is (number == 200)
        assert not terminated[0]


def test_max_episode_steps_replaces_the_registered_limit():
    env = envs.make("gym/Pendulum-v1", 1, max_episode_steps=3, backend="official")
    env.reset()
    ends = [bool(env.step(np.zeros((1, 1)))[3][0]) for _ in range(6)]
    assert ends == [False, False, True] * 2
    assert env.record.max_episode_steps == 3


def test_a_falling_hopper_terminates():
    env = envs.make("gym/Hopper-v5", 1, backend="official")
    env.reset()
    for _ in range(200):
        _, _, terminated, truncated, _ = env.step(np.ones((1, 3)))
        if terminated.any():
            break
    assert terminated[0]
    assert not truncated[0]


def test_options_reach_gymnasium():
    env = envs.make("gym/Hopper-v5", 1, healthy_reward=100.0, backend="official")
    env.reset()
    assert env.step(np.zeros((1, 3)))[1][0] > 90


def test_options_of_a_constructor_are_refused():
    with pytest.raises(ValueError, match=r"takes no options, got \['size'\]"):
        envs.make(Goal, size=3)


def test_a_custom_simulator_has_no_state():
    env = envs.make(Goal)
    with pytest.raises(NotImplementedError, match="only MuJoCo and classic-control"):
        env.get_state(0)


def test_an_id_with_its_module_is_imported_first(tmp_path, monkeypatch):
    (tmp_path / "module_of_a_user.py").write_text(
        "import gymnasium\n"
        "from gymnasium.envs.classic_control import PendulumEnv\n"
        "gymnasium.register('UserPendulum-v0', entry_point=PendulumEnv, max_episode_steps=7)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    env = envs.make("gym/module_of_a_user:UserPendulum-v0")
    assert env.record.max_episode_steps == 7
    assert env.reset()[0].shape == (1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", envs.list_ids("gym"))
def test_every_listed_task_steps_and_restores_its_state(env_id):
    env, other = (envs.make(env_id, 1, seed=seed, backend="official") for seed in (1, 2))
    env.reset()
    other.reset()
    actions = np.random.default_rng(0).uniform(-0.1, 0.1, (6, *env.action_space.shape))
    env.step(actions[0])
    other.set_state(0, env.get_state(0))
    for action in actions[1:]:
        expected, got = env.step(action), other.step(action)
        if expected[2].any() or expected[3].any():
            break
        np.testing.assert_array_equal(got[0], expected[0])
        np.testing.assert_array_equal(got[1], expected[1])
