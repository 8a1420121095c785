import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from pbrl import envs
from pbrl.envs.vector import lane_seeds

ONE_OF_EACH = [
    "gym/Hopper-v5",
    "gym/Pendulum-v1",
    "dmc/cartpole-swingup",
    "metaworld/window-open-v3",
]


def make(env_id, num_envs=2, **options):
    return envs.make(env_id, num_envs, backend="official", **options)


def actions_for(env, num_steps, seed=0):
    shape = (num_steps, *env.action_space.shape)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def rollout(env, actions):
    """Return observations, rewards and flags of every step as one array."""
    return np.array([np.column_stack(env.step(action)[:4]) for action in actions])


class Counter(gymnasium.Env):
    """Observes the number of its steps and is rewarded by the action it got."""

    observation_space = gymnasium.spaces.Box(-1e6, 1e6, (1,), np.float64)
    action_space = gymnasium.spaces.Box(np.float32([1.0, -4.0]), np.float32([3.0, 0.0]))

    def __init__(self, length=3, terminates=True, fault=None):
        self.length, self.terminates, self.fault = length, terminates, fault
        self.steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1), {"note": "reset"}

    def step(self, action):
        self.steps += 1
        is_over = self.steps >= self.length
        reward = float(action.sum())
        observation = np.full(1, float(self.steps))
        if self.fault is not None and self.steps == 2:
            observation, reward = self.fault
        info = {"steps": self.steps, "success": is_over}
        return observation, reward, is_over and self.terminates, is_over, info


@pytest.mark.parametrize("env_id", ONE_OF_EACH)
def test_spaces_are_flat_float32_and_actions_lie_in_the_unit_box(env_id):
    env = make(env_id)
    observations, infos = env.reset()
    assert infos == {}
    assert env.single_action_space.low.tolist() == [-1.0] * len(env.single_action_space.low)
    assert env.single_action_space.high.tolist() == [1.0] * len(env.single_action_space.high)
    assert observations.dtype == np.float32
    assert env.observation_space.contains(observations)
    following, rewards, terminated, truncated, _ = env.step(env.action_space.sample())
    assert following.shape == observations.shape == env.observation_space.shape
    assert rewards.dtype == np.float32
    assert terminated.dtype == truncated.dtype == np.bool_
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


@pytest.mark.parametrize("env_id", ONE_OF_EACH)
def test_same_seed_same_trajectory_and_every_environment_its_own(env_id):
    first, second, other = make(env_id, seed=5), make(env_id, seed=5), make(env_id, seed=6)
    starts = [env.reset()[0] for env in (first, second, other)]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])
    assert not np.array_equal(starts[0][0], starts[0][1])
    actions = actions_for(first, 60)
    np.testing.assert_array_equal(rollout(first, actions), rollout(second, actions))
    np.testing.assert_array_equal(first.reset(seed=9)[0], other.reset(seed=9)[0])
    np.testing.assert_array_equal(first.reset()[0], other.reset()[0])  # and later resets


@pytest.mark.parametrize("env_id", ONE_OF_EACH)
def test_a_restored_state_goes_on_to_the_same_steps(env_id):
    env, other = make(env_id, seed=1), make(env_id, seed=2)
    actions = actions_for(env, 25)
    env.reset()
    rollout(env, actions[:5])
    states = [env.get_state(index) for index in range(2)]
    expected = rollout(env, actions[5:15])
    other.reset()
    for index, state in enumerate(states):
        other.set_state(index, state)
    np.testing.assert_array_equal(rollout(other, actions[5:15]), expected)
    for index, state in enumerate(states):
        env.set_state(index, state)
    np.testing.assert_array_equal(rollout(env, actions[5:15]), expected)


def test_states_survive_a_file(tmp_path):
    env = make("metaworld/pick-place-v3", 1)
    env.reset()
    state = env.get_state(0)
    np.savez(tmp_path / "state.npz", **state)
    with np.load(tmp_path / "state.npz", allow_pickle=False) as stored:
        env.set_state(0, dict(stored))
    again = env.get_state(0)
    assert again.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


def test_a_state_of_another_model_is_refused():
    env, other = make("gym/Hopper-v5", 1), make("gym/Walker2d-v5", 1)
    env.reset()
    other.reset()
    with pytest.raises(ValueError, match="physics numbers, this model"):
        other.set_state(0, env.get_state(0))


def test_an_episode_ends_in_the_same_step_as_gymnasium_says():
    env = envs.make(Counter, 2, max_episode_steps=None)
    env.reset()
    actions = np.zeros((2, 2), np.float32)
    for _ in range(2):
        observations, _, terminated, truncated, infos = env.step(actions)
        assert "final_obs" not in infos
        assert not terminated.any()
        assert not truncated.any()
        assert infos["success"].tolist() == [False, False]
    observations, _, terminated, truncated, infos = env.step(actions)
    assert observations.tolist() == [[0.0], [0.0]]
    assert terminated.all()
    assert truncated.all()
    assert infos["success"].tolist() == [True, True]  # of the step, not of the new episode
    assert [one.tolist() for one in infos["final_obs"]] == [[3.0], [3.0]]
    assert infos["final_info"]["steps"].tolist() == [3, 3]
    assert env.step(actions)[0].tolist() == [[1.0], [1.0]]


def test_lanes_end_at_their_own_time():
    lengths = iter([2, 3])
    env = envs.make(lambda: Counter(next(lengths)), 2)
    env.reset()
    actions = np.zeros((2, 2), np.float32)
    env.step(actions)
    observations, _, terminated, _, infos = env.step(actions)
    assert terminated.tolist() == [True, False]
    assert infos["_final_obs"].tolist() == [True, False]
    assert observations.tolist() == [[0.0], [2.0]]
    assert envs.final_observations(observations, infos).tolist() == [[2.0], [2.0]]


def test_final_observations_are_those_without_autoreset():
    env = make("gym/Hopper-v5", 3, seed=4)
    env.reset()
    plain = [gymnasium.make("Hopper-v5") for _ in range(3)]
    for one, seed in zip(plain, lane_seeds(4, 3), strict=True):
        one.reset(seed=seed)
    num_ends = 0
    for actions in actions_for(env, 60):
        following, rewards, terminated, truncated, infos = env.step(actions)
        true_next = envs.final_observations(following, infos)
        for index, one in enumerate(plain):
            observation, reward, is_terminated, is_truncated, _ = one.step(actions[index])
            np.testing.assert_array_equal(true_next[index], observation.astype(np.float32))
            assert rewards[index] == np.float32(reward)
            assert (terminated[index], truncated[index]) == (is_terminated, is_truncated)
            if is_terminated or is_truncated:
                num_ends += 1
                start, _ = one.reset()
                np.testing.assert_array_equal(following[index], start.astype(np.float32))
    assert num_ends > 2


def test_actions_are_scaled_to_the_bounds_and_clipped():
    env = envs.make(Counter, 1)
    env.reset()
    assert env.step(np.array([[-1.0, -1.0]]))[1] == 1.0 - 4.0
    assert env.step(np.array([[0.0, 0.5]]))[1] == 2.0 - 1.0
    env.reset()
    assert env.step(np.array([[7.0, 7.0]]))[1] == 3.0


@pytest.mark.parametrize("wrong", [np.zeros((2, 2)), np.zeros(2), np.zeros((1, 3))])
def test_actions_of_a_wrong_shape_are_refused(wrong):
    env = envs.make(Counter, 1)
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(1, 2\), got"):
        env.step(wrong)


def test_actions_that_are_no_numbers_are_refused():
    env = make("gym/Hopper-v5")
    env.reset()
    with pytest.raises(ValueError, match=r"actions\[1\] is not a number"):
        env.step(np.array([[0, 0, 0], [0, np.nan, 0]]))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ((np.array([np.nan]), 0.0), r"Counter: sub-environment 0 returned observation \[nan\]"),
        ((np.array([np.inf]), 0.0), r"observation \[inf\] at position\(s\) \[0\] in step 2"),
        ((np.zeros(1), float("-inf")), r"sub-environment 0 returned reward -inf in step 2"),
    ],
)
def test_values_that_are_not_finite_stop_with_their_origin(fault, message):
    def make_counter():
        return Counter(fault=fault)

    make_counter.__qualname__ = "Counter"
    env = envs.make(make_counter, 1)
    env.reset()
    env.step(np.zeros((1, 2)))
    with pytest.raises(envs.EnvironmentFault, match=message):
        env.step(np.zeros((1, 2)))


def test_seeds_are_independent_streams_or_taken_as_given():
    assert len(set(lane_seeds(0, 100))) == 100
    assert not set(lane_seeds(0, 100)) & set(lane_seeds(1, 100))
    assert lane_seeds(0, 3) == lane_seeds(0, 100)[:3]
    assert lane_seeds([4, 5], 2) == [4, 5]
    with pytest.raises(ValueError, match="got 3"):
        lane_seeds([1, 2, 3], 2)


def test_episodes_that_follow_take_the_seeds_given():
    env, alone = (make("gym/Pendulum-v1", number, max_episode_steps=3) for number in (2, 1))
    env.reset(seed=[5, 6])
    env.episode_seeds = iter([7, 8])
    steps = [env.step(np.zeros((2, 1)))[0] for _ in range(6)]
    for index, seed in enumerate([7, 8]):
        expected, _ = alone.reset(seed=[seed])
        np.testing.assert_array_equal(steps[2][index], expected[0])
    assert not np.array_equal(steps[5][0], steps[2][0])  # the seeds have run out


def test_tensors_share_memory_on_the_cpu_and_say_the_same():
    array_env, env = make("gym/Pendulum-v1"), make("gym/Pendulum-v1", device="cpu")
    np.testing.assert_array_equal(array_env.reset()[0], env.reset()[0].numpy())
    assert env.record == array_env.record
    for action in actions_for(env, 200):
        expected = array_env.step(action)
        following, rewards, terminated, truncated, infos = env.step(torch.from_numpy(action))
        np.testing.assert_array_equal(following.numpy(), expected[0])
        np.testing.assert_array_equal(rewards.numpy(), expected[1])
    assert bool(truncated.all())
    assert not bool(terminated.any())
    true_next = envs.final_observations(following, infos)
    assert isinstance(true_next, torch.Tensor)
    np.testing.assert_array_equal(
        true_next.numpy(), envs.final_observations(expected[0], expected[4])
    )
    env.set_state(0, env.get_state(1))
    both = env.step(torch.zeros(2, 1))[0]
    assert torch.equal(both[0], both[1])


def test_success_becomes_a_tensor_too():
    env = make("metaworld/reach-v3", 2, device="cpu")
    env.reset()
    infos = env.step(torch.zeros(2, 4))[4]
    assert infos["success"].dtype == torch.bool
