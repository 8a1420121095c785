import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from pbrl.sb3 import FeedbackCallback, PreferenceVecEnv, RelabellingReplayBuffer
from tests.envs.conftest import LENGTHS, Clock
from tests.sb3.point import points, preferences, small_model

OFF_POLICY = {"replay_buffer_class": RelabellingReplayBuffer}


class Beside(RelabellingReplayBuffer):
    """Keeps what it is given in a buffer of stable-baselines3 as well."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.theirs = ReplayBuffer(*args, **kwargs)

    def add(self, *args):
        super().add(*args)
        self.theirs.add(*args)


def rows(samples, columns):
    table = torch.cat([samples[column] for column in columns], 1).round(decimals=4)
    return {tuple(row) for row in table.tolist()}


def test_it_holds_the_transitions_that_stable_baselines3_would_hold():
    env = PreferenceVecEnv(DummyVecEnv([lambda kind=kind: Clock(*kind) for kind in LENGTHS]))
    model = SAC("MlpPolicy", env, replay_buffer_class=Beside, learning_starts=1000, seed=0)
    model.learn(80, callback=FeedbackCallback(env, preferences(first_step=1000)))
    ours, theirs = model.replay_buffer, model.replay_buffer.theirs
    assert ours.size() == theirs.size() == 40
    fields = [0, 1, 2, 3]  # observations, actions, next observations, dones
    expected = rows(theirs.sample(3000), fields)
    assert len(expected) == 80
    assert rows(ours.sample(3000), fields) == expected


@pytest.mark.parametrize("num_envs", [1, 2])
def test_rewards_are_always_those_of_the_present_model(num_envs):
    # A capacity of 90 steps, so that the ring wraps and holds steps of every session and of none.
    env = PreferenceVecEnv(points(num_envs), capacity=90)
    callback = FeedbackCallback(env, preferences())
    model = small_model(SAC, env, buffer_size=90, learning_starts=40, **OFF_POLICY)
    seen = []
    for steps in (60, 90, 130):
        model.learn(steps - model.num_timesteps, callback=callback, reset_num_timesteps=not seen)
        batch = model.replay_buffer.sample(256)
        predicted = callback.source.rewards(batch.observations, batch.actions)
        torch.testing.assert_close(batch.rewards[:, 0], predicted)
        seen.append(batch.rewards.std().item())
    assert callback.source.num_asked == 8
    assert len(set(seen)) == 3


def test_rewards_are_zero_before_there_is_a_model():
    env = PreferenceVecEnv(points())
    model = small_model(SAC, env, learning_starts=5, **OFF_POLICY)
    model.learn(20, callback=FeedbackCallback(env, preferences()))
    assert model.replay_buffer.sample(64).rewards.abs().max() == 0


def test_samples_depend_on_the_seed_of_the_callback_alone():
    def samples(seed, numpy_seed):
        env = PreferenceVecEnv(points())
        model = small_model(SAC, env, learning_starts=100, **OFF_POLICY)
        model.learn(20, callback=FeedbackCallback(env, preferences(), seed=seed))
        np.random.seed(numpy_seed)  # noqa: NPY002  what stable-baselines3 would draw from
        return model.replay_buffer.sample(32)

    first, second, other = samples(0, 0), samples(0, 1), samples(1, 0)
    assert torch.equal(first.observations, second.observations)
    assert not torch.equal(first.observations, other.observations)


def test_it_normalises_as_the_environment_around_it_does():
    env = PreferenceVecEnv(points())
    normalised = VecNormalize(env)
    model = small_model(SAC, normalised, learning_starts=45, **OFF_POLICY)
    callback = FeedbackCallback(env, preferences())
    model.learn(60, callback=callback)
    raw = model.replay_buffer.sample(500)
    batch = model.replay_buffer.sample(500, env=normalised)
    whole = env.replay.all_observations()
    assert raw.observations.abs().max() == whole.abs().max()  # the reward model sees raw ones
    expected = torch.as_tensor(normalised.normalize_obs(whole.numpy()))
    assert rows([batch.observations], [0]) == rows([expected], [0])
    torch.testing.assert_close(
        batch.rewards.abs().max(),
        torch.as_tensor(normalised.normalize_reward(raw.rewards.abs().max().numpy())).float(),
    )


def test_discrete_actions_are_indices():
    space = gymnasium.spaces.Discrete(3)
    env = PreferenceVecEnv(DummyVecEnv([lambda: Choice(space)]))
    env.reset()
    for action in (0, 1, 2, 2):
        env.step(np.array([action]))
    buffer = RelabellingReplayBuffer(1_000_000, env.observation_space, space)
    generator = torch.Generator().manual_seed(0)
    buffer.bind(env.replay, env.capacity, lambda size: env.replay.sample(size, generator))
    samples = buffer.sample(64)
    assert samples.actions.dtype == torch.int64
    torch.testing.assert_close(samples.next_observations[:, :1], samples.actions.float())


class Choice(Clock):
    """Observes the last action."""

    def __init__(self, action_space):
        super().__init__(100, True)
        self.action_space = action_space

    def step(self, action):
        _, _, *rest = super().step(np.array([action]))
        return np.array([action, 0], np.float32), 0.0, *rest


def test_it_holds_no_data_of_its_own():
    env = PreferenceVecEnv(points())
    buffer = RelabellingReplayBuffer(10**9, env.observation_space, env.action_space)
    assert not hasattr(buffer, "observations")
    assert buffer.size() == 0


def test_misuse_is_refused_with_the_remedy(tmp_path):
    env = PreferenceVecEnv(points(), capacity=100)
    spaces = env.observation_space, env.action_space
    with pytest.raises(ValueError, match="not a terminal state"):
        RelabellingReplayBuffer(100, *spaces, handle_timeout_termination=False)
    model = small_model(SAC, env, buffer_size=100, **OFF_POLICY)
    with pytest.raises(ValueError, match="callback=FeedbackCallback"):
        model.learn(10)
    model = small_model(SAC, env, buffer_size=200, **OFF_POLICY)
    with pytest.raises(ValueError, match="pass buffer_size=100"):
        model.learn(10, callback=FeedbackCallback(env, preferences()))
    with pytest.raises(TypeError, match="FeedbackCallback.save"):
        model.save_replay_buffer(tmp_path / "replay")
    with pytest.raises(NotImplementedError, match="PreferenceVecEnv"):
        model.replay_buffer.reset()
