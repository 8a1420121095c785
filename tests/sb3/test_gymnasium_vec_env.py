import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from pbrl import envs
from pbrl.sb3 import GymnasiumVecEnv
from tests.envs.conftest import LENGTHS, Clock


def clocks(mode):
    return SyncVectorEnv([lambda kind=kind: Clock(*kind) for kind in LENGTHS], autoreset_mode=mode)


class Lucky(Clock):
    """Succeeds in its second step only."""

    def step(self, action):
        *rest, _ = super().step(action)
        return *rest, {"success": self.time == 2}


def test_episodes_end_as_in_an_environment_of_stable_baselines3():
    ours = GymnasiumVecEnv(clocks(AutoresetMode.SAME_STEP))
    theirs = DummyVecEnv([lambda kind=kind: Clock(*kind) for kind in LENGTHS])
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    ends = 0
    for number in range(20):
        actions = np.full((2, 1), number % 10, np.float32)
        *arrays, infos = ours.step(actions)
        *expected_arrays, expected_infos = theirs.step(actions)
        for array, expected in zip(arrays, expected_arrays, strict=True):
            np.testing.assert_array_equal(array, expected)
        for done, info, expected in zip(arrays[2], infos, expected_infos, strict=True):
            is_cut = info.get("TimeLimit.truncated", False)
            assert is_cut == expected["TimeLimit.truncated"]
            assert ("terminal_observation" in info) == done
            if done:
                ends += 1
                np.testing.assert_array_equal(
                    info["terminal_observation"], expected["terminal_observation"]
                )
    assert ends == 20 // 3 + 20 // 5


@pytest.mark.parametrize("device", [None, "cpu"])
def test_it_speaks_numpy_whatever_the_environment_speaks(device):
    env = GymnasiumVecEnv(envs.make("gym/Pendulum-v1", 2, device=device))
    for value in (env.reset(), *env.step(np.zeros((2, 1), np.float32))[:3]):
        assert isinstance(value, np.ndarray)
        assert len(value) == 2


def test_a_seed_counts_once():
    env = GymnasiumVecEnv(envs.make("gym/Pendulum-v1", 2))
    env.seed(3)
    first = env.reset()
    second = env.reset()
    env.seed(3)
    np.testing.assert_array_equal(env.reset(), first)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("is_ours", [True, False])
def test_an_episode_is_a_success_when_any_of_its_steps_was(is_ours):
    def lucky():
        return Lucky(3, True)

    made = envs.make(lucky) if is_ours else SyncVectorEnv([lucky], autoreset_mode="SameStep")
    env = GymnasiumVecEnv(made)
    env.reset()
    infos = [env.step(np.zeros((1, 1), np.float32))[3][0] for _ in range(6)]
    assert [info["success"] for info in infos] == [False, True, False] * 2
    assert [info.get("is_success") for info in infos] == [None, None, True] * 2


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="SAME_STEP, not AutoresetMode.NEXT_STEP"):
        GymnasiumVecEnv(clocks(AutoresetMode.NEXT_STEP))
    env = GymnasiumVecEnv(clocks(AutoresetMode.SAME_STEP))
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False, False]
    assert not env.has_attr("no_such_attribute")
    with pytest.raises(NotImplementedError, match="cannot call state"):
        env.env_method("state")
    with pytest.raises(NotImplementedError, match="cannot set gravity"):
        env.set_attr("gravity", 1.0)
