import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pbrl import envs
from pbrl.envs.checks import autoreset_mode, check_finite


def pendulums(mode):
    return SyncVectorEnv(
        [lambda length=length: gymnasium.make("Pendulum-v1", max_episode_steps=length)
         for length in (2, 3)],
        autoreset_mode=mode,
    )  # fmt: skip


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
def test_final_observations_of_any_same_step_environment(convert):
    env = pendulums(AutoresetMode.SAME_STEP)
    env.reset(seed=0)
    actions = np.zeros((2, 1), np.float32)
    env.step(actions)
    following, _, _, truncated, infos = env.step(actions)
    assert truncated.tolist() == [True, False]
    returned = following.copy()
    true_next = envs.final_observations(convert(following), infos)
    np.testing.assert_array_equal(np.asarray(true_next)[0], infos["final_obs"][0])
    np.testing.assert_array_equal(np.asarray(true_next)[1], returned[1])
    np.testing.assert_array_equal(following, returned)  # left as it was
    assert not np.array_equal(true_next[0], returned[0])


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_final_observations_of_other_modes_are_those_returned(mode):
    env = pendulums(mode)
    env.reset(seed=0)
    for _ in range(2):
        following, _, _, _, infos = env.step(np.zeros((2, 1), np.float32))
    assert envs.final_observations(following, infos) is following


def test_an_environment_without_a_declared_mode_is_refused():
    env = pendulums(AutoresetMode.NEXT_STEP)
    assert autoreset_mode(env) is AutoresetMode.NEXT_STEP
    env.metadata = {}
    with pytest.raises(ValueError, match="declares no autoreset mode"):
        autoreset_mode(env)


def test_finite_values_pass_and_the_first_bad_environment_is_named():
    good = np.zeros((3, 2), np.float32)
    check_finite("some/env", 0, good)
    bad = good.copy()
    bad[1, 1] = bad[2, 0] = np.inf
    with pytest.raises(envs.EnvironmentFault, match="some/env: sub-environment 1 .* in step 7"):
        check_finite("some/env", 7, bad)
    with pytest.raises(envs.EnvironmentFault, match="sub-environment 2 returned reward nan"):
        check_finite("some/env", 7, good, np.array([0, 0, np.nan], np.float32))
