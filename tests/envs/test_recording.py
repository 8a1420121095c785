import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pbrl import envs
from pbrl.replay import ReplayBuffer

MODES = list(AutoresetMode)


@pytest.fixture
def clocks(clock_constructors):
    return lambda mode: SyncVectorEnv(clock_constructors, autoreset_mode=mode)


def drive(env, num_calls):
    """Step with actions 0, 1, 2, ... (modulo 10), resetting by hand where that is needed."""
    env.reset(seed=0)
    for number in range(num_calls):
        _, _, terminated, truncated, _ = env.step(np.full((2, 1), number % 10, np.float32))
        ended = terminated | truncated
        if env.metadata["autoreset_mode"] is AutoresetMode.DISABLED and ended.any():
            env.reset(options={"reset_mask": ended})


@pytest.mark.parametrize("mode", MODES)
def test_every_episode_is_recorded_whole_and_once(mode, clocks, episodes_of):
    env = envs.RecordSegments(clocks(mode))
    drive(env, 23)
    resets = 1 if mode is AutoresetMode.NEXT_STEP else 0
    expected = [(3, number) for number in range((23 + resets) // (3 + resets))]
    expected += [(5, number) for number in range((23 + resets) // (5 + resets))]
    assert sorted(episodes_of(env.replay)) == sorted(expected)


@pytest.mark.parametrize("mode", MODES)
def test_last_transitions_have_their_true_next_observation(mode, clocks):
    env = envs.RecordSegments(clocks(mode))
    drive(env, 23)
    batch = env.replay.sample(2000, torch.Generator().manual_seed(0))
    steps = batch.next_observations - batch.observations
    assert steps[:, 0].abs().max() == 0  # never from one episode into the next
    assert (steps[:, 1] == 1).all()
    is_end_of_first = batch.observations[:, 1] == 2
    ends = batch.terminated.bool()
    assert bool(ends.any())
    assert bool((is_end_of_first >= ends).all())
    assert float(batch.next_observations[:, 1].max()) == 5.0


@pytest.mark.parametrize("mode", MODES)
def test_actions_are_stored_in_the_unit_range_beside_their_rewards(mode, clocks):
    env = envs.RecordSegments(clocks(mode))
    drive(env, 23)
    segments = env.segments(50, 3, torch.Generator().manual_seed(0))
    assert segments.actions.min() == -1.0
    torch.testing.assert_close((segments.actions[..., 0] + 1) * 5, segments.true_rewards)


def test_segments_are_drawn_within_episodes(clocks):
    env = envs.RecordSegments(clocks(AutoresetMode.NEXT_STEP))
    drive(env, 23)
    segments = env.segments(20, 4, torch.Generator().manual_seed(0))
    assert segments.observations.shape == (20, 4, 2)
    assert set(segments.observations[:, 0, 1].tolist()) == {0.0, 1.0}
    with pytest.raises(ValueError, match="6 steps"):
        env.segments(1, 6, torch.Generator())


@pytest.mark.parametrize("mode", MODES)
def test_a_reset_in_the_middle_truncates(mode, clocks, episodes_of):
    env = envs.RecordSegments(clocks(mode))
    drive(env, 2)
    env.reset()
    assert sorted(episodes_of(env.replay)) == [(2, 0), (2, 0)]
    env.step(np.zeros((2, 1), np.float32))
    env.close()
    assert sorted(episodes_of(env.replay)) == [(1, 1), (1, 1), (2, 0), (2, 0)]
    assert not env.replay.sample(100, torch.Generator()).terminated.any()


def test_the_loop_sees_what_it_would_see_without_recording():
    plain = envs.make("gym/Hopper-v5", 2, backend="official")
    recorded = envs.RecordSegments(envs.make("gym/Hopper-v5", 2, backend="official"))
    np.testing.assert_array_equal(plain.reset()[0], recorded.reset()[0])
    rng = np.random.default_rng(0)
    for _ in range(40):
        actions = rng.uniform(-1, 1, (2, 3)).astype(np.float32)
        for one, other in zip(plain.step(actions)[:4], recorded.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(one, other)
    assert recorded.replay.num_steps == 80


def test_tensors_can_be_recorded_into_a_given_replay():
    replay = ReplayBuffer(100, 3, 1, num_envs=2)
    env = envs.RecordSegments(envs.make("gym/Pendulum-v1", 2, device="cpu"), replay)
    observations, _ = env.reset()
    for _ in range(7):
        env.step(torch.zeros(2, 1))
    assert env.replay is replay
    assert replay.num_steps == 14
    torch.testing.assert_close(replay.all_observations()[:2], observations)


@pytest.mark.parametrize(
    ("mode", "num_envs", "message"),
    [
        (AutoresetMode.NEXT_STEP, 2, "num_envs=1, this one has 2"),
        (AutoresetMode.DISABLED, 2, "num_envs=1, this one has 2"),
        (AutoresetMode.SAME_STEP, 3, "this one has 3"),
    ],
)
def test_a_replay_that_does_not_fit_is_refused(mode, num_envs, message, clocks):
    with pytest.raises(ValueError, match=message):
        envs.RecordSegments(clocks(mode), ReplayBuffer(100, 2, 1, num_envs=num_envs))


def test_dictionaries_are_refused_with_advice():
    class Named(gymnasium.Env):
        observation_space = gymnasium.spaces.Dict(position=gymnasium.spaces.Box(-1, 1, (1,)))
        action_space = gymnasium.spaces.Box(-1, 1, (1,))

    with pytest.raises(ValueError, match="FlattenObservation"):
        envs.RecordSegments(SyncVectorEnv([Named]))


def test_one_environment_must_not_be_reset_alone_where_all_step_together(clocks):
    env = envs.RecordSegments(clocks(AutoresetMode.SAME_STEP))
    env.reset()
    with pytest.raises(ValueError, match="num_envs=1"):
        env.reset(options={"reset_mask": np.array([True, False])})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", ["observations", "rewards"])
def test_what_is_not_finite_is_not_recorded(mode, where, clocks):
    inner = clocks(mode)
    env = envs.RecordSegments(inner)
    drive(env, 12)
    recorded = env.replay.num_steps
    step = inner.step

    def broken(actions):
        observations, rewards, *rest = step(actions)
        spoilt = {"observations": observations, "rewards": rewards}[where]
        spoilt[1] = np.nan
        return observations, rewards, *rest

    inner.step = broken
    with pytest.raises(envs.EnvironmentFault, match=r"rewards|observations") as caught:
        drive(env, 6)  # longer than a call that only resets
    assert "environment 1 must be finite numbers, got" in str(caught.value)
    assert bool(env.replay.all_true_rewards().isfinite().all())
    assert env.replay.num_steps >= recorded
