"""Batched worlds as a vector environment: ends, beginnings, seeds, states, faults."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import pbrl.envs
from pbrl.envs import EnvironmentFault, final_observations
from pbrl.envs.mjx import make
from pbrl.envs.mjx.cartpole import CartpoleSwingup

REACHER = "mjx/reacher-easy"


def make_env(env_id=REACHER, num_envs=4, **options):
    return pbrl.envs.make(env_id, num_envs, device="cpu", num_threads=1, **options)


def zeros(env):
    return torch.zeros(env.action_space.shape)


def test_tensors_have_the_shapes_and_types_of_the_interface():
    env = make_env()
    observations, infos = env.reset()
    assert infos == {}
    assert observations.shape == env.observation_space.shape == (4, 6)
    following, rewards, terminated, truncated, infos = env.step(zeros(env))
    assert {part.dtype for part in (observations, following, rewards)} == {torch.float32}
    assert {part.dtype for part in (terminated, truncated)} == {torch.bool}
    assert rewards.shape == terminated.shape == truncated.shape == (4,)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP


def test_the_last_step_begins_the_next_episode_and_keeps_the_final_observation():
    env = make_env(max_episode_steps=3)
    env.reset(seed=0)
    for step in range(1, 8):
        before = env.get_state(0)
        following, _, terminated, truncated, infos = env.step(zeros(env))
        assert not terminated.any()
        assert bool(truncated.all()) == (step % 3 == 0)
        assert ("final_obs" in infos) == (step % 3 == 0)
        if step % 3 == 0:
            assert infos["_final_obs"].all()
            finals = final_observations(following, infos)
            assert torch.equal(finals, infos["final_obs"])
            moved = np.abs(finals[0, :2].numpy() - before["qpos"]).max()
            assert moved < 0.1  # still the old episode, while the next one is elsewhere
            assert (finals - following).abs().amax() > 0.1
            assert env.get_state(0)["elapsed_steps"] == 0
        else:
            assert final_observations(following, infos) is following


def test_worlds_that_began_at_other_times_end_at_other_times():
    env = make_env(max_episode_steps=5)
    env.reset(seed=0)
    env.step(zeros(env))
    env.step(zeros(env))
    env.set_state(2, {**env.get_state(2), "elapsed_steps": np.array(0)})
    ends = [env.step(zeros(env))[3].nonzero()[:, 0].tolist() for _ in range(9)]
    assert ends == [[], [], [0, 1, 3], [], [2], [], [], [0, 1, 3], []]


@dataclass(frozen=True, kw_only=True)
class NarrowTrack(CartpoleSwingup):
    """Ends where the cart leaves a narrow track."""

    def terminated(self, world):
        return world.state.qpos[:, 0].abs() > 0.2


def test_terminal_states_end_single_worlds():
    env = make(NarrowTrack(), 3, device="cpu", max_episode_steps=50, num_threads=1)
    env.reset(seed=0)
    actions = torch.tensor([[0.0], [1.0], [-1.0]])
    lengths = {0: [], 1: [], 2: []}
    age = torch.zeros(3, dtype=torch.int64)
    for _ in range(70):
        following, _, terminated, truncated, infos = env.step(actions)
        age += 1
        is_final = terminated | truncated
        assert torch.equal(infos["_final_obs"], is_final)
        finals = final_observations(following, infos)
        assert (finals[:, 0].abs() > 0.2).equal(terminated)  # the final one is terminal
        assert (following[:, 0].abs() < 0.2).all()  # and nothing begins there
        assert torch.equal(finals[~is_final], following[~is_final])
        for world in is_final.nonzero()[:, 0].tolist():
            lengths[world].append(int(age[world]))
        age[is_final] = 0
    assert lengths[0] == [50]  # truncated
    assert len(lengths[1]) > 2
    assert len(lengths[2]) > 2
    assert max(lengths[1] + lengths[2]) < 30


def rollout(seed, **options):
    env = make_env("mjx/walker-walk", 2, max_episode_steps=4, **options)
    first, _ = env.reset(seed=seed)
    return torch.stack([first, *(env.step(zeros(env))[0] for _ in range(9))])


def test_equal_seeds_give_equal_runs_across_episodes():
    assert torch.equal(rollout(3), rollout(3))
    assert not torch.equal(rollout(3), rollout(4))


def test_the_first_reset_uses_the_seed_of_make_and_later_ones_go_on():
    env, same = make_env(seed=7), make_env(seed=7)
    first, _ = env.reset()
    assert torch.equal(first, same.reset(seed=7)[0])
    assert not torch.equal(first, env.reset()[0])
    several = make_env(seed=[1, 2])
    assert not torch.equal(first, several.reset()[0])


def test_worlds_differ():
    first, _ = make_env(num_envs=50).reset()
    assert len(first.unique(dim=0)) == 50


def test_the_number_of_threads_changes_nothing():
    results = []
    for num_threads in (1, 3):
        env = pbrl.envs.make("mjx/hopper-hop", 7, device="cpu", num_threads=num_threads)
        env.reset(seed=0)
        actions = torch.full(env.action_space.shape, 0.3)
        results.append(torch.stack([env.step(actions)[0] for _ in range(20)]))
    assert torch.equal(*results)


@pytest.mark.parametrize("task", ["reacher-easy", "quadruped-walk", "walker-walk"])
def test_a_state_leads_to_the_same_steps(task):
    env = make_env(f"mjx/{task}", 2)
    env.reset(seed=0)
    actions = [torch.rand(env.action_space.shape) for _ in range(5)]
    env.step(actions[0])
    state = env.get_state(0)
    expected = [env.step(action)[0][0] for action in actions]
    env.reset()
    env.set_state(0, state)
    for action, observation in zip(actions, expected, strict=True):
        assert torch.equal(env.step(action)[0][0], observation)


def test_actions_are_clipped_and_scaled_to_the_actuators():
    env = make_env("mjx/quadruped-walk", 1)
    env.reset(seed=0)
    state = env.get_state(0)
    outcomes = []
    for action in (1.0, 5.0):
        env.set_state(0, state)
        outcomes.append(env.step(torch.full((1, 12), action))[0])
        torch.testing.assert_close(
            env._controls[0, :3], torch.tensor([1.0, 1.1, 0.8], dtype=torch.float64)
        )
    assert torch.equal(*outcomes)
    env.step(torch.full((1, 12), -1.0))
    assert env._controls[0, :3].tolist() == pytest.approx([-1.0, -1.0, -0.8])


def test_actions_of_the_wrong_shape_or_without_numbers_are_refused():
    env = make_env()
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(4, 2\), got \(4, 3\)"):
        env.step(torch.zeros(4, 3))
    actions = zeros(env)
    actions[2, 0] = float("nan")
    with pytest.raises(ValueError, match=r"actions\[2\] is not a number"):
        env.step(actions)


def test_a_simulation_that_diverges_stops_with_its_world_and_step():
    env = make_env("mjx/walker-walk", 3)
    env.reset(seed=0)
    env.step(zeros(env))
    state = env.get_state(1)
    state["qvel"] = state["qvel"] + 1e9
    env.set_state(1, state)
    with pytest.raises(EnvironmentFault, match="mjx/walker-walk: .* world 1 diverged in step 2"):
        env.step(zeros(env))


def test_arrays_come_out_where_no_device_is_named():
    env = pbrl.envs.make(REACHER, 3, max_episode_steps=2, num_threads=1)
    tensors = make_env(num_envs=3, max_episode_steps=2)
    first, _ = env.reset(seed=0)
    assert np.array_equal(first, tensors.reset(seed=0)[0].numpy())
    for _ in range(4):
        actions = env.action_space.sample()
        ours = env.step(actions)
        theirs = tensors.step(torch.from_numpy(actions))
        for array, tensor in zip(ours[:4], theirs[:4], strict=True):
            assert isinstance(array, np.ndarray)
            assert np.array_equal(array, tensor.numpy())
        assert final_observations(ours[0], ours[4]).dtype == np.float32
        assert np.array_equal(
            final_observations(ours[0], ours[4]), final_observations(theirs[0], theirs[4]).numpy()
        )
    assert env.record.backend == "rollout"
    assert env.get_state(0).keys() == tensors.get_state(0).keys()


def test_frames_show_every_world():
    env = make_env(num_envs=2, frame_size=(48, 64))
    env.reset(seed=0)
    try:
        frames = env.render()
    except pbrl.envs.RenderingUnavailable as error:
        pytest.skip(str(error))
    assert frames.shape == (2, 48, 64, 3)
    assert (frames[0] != frames[1]).any()
    env.set_state(1, env.get_state(0))
    frames = env.render()
    assert (frames[0] == frames[1]).all()  # the target as well
    env.close()


def test_random_numbers_of_the_program_are_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    make_env().reset()
    assert torch.equal(torch.rand(1), expected)
