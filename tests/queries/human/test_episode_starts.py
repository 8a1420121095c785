import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv

from pbrl.envs import make
from pbrl.queries.human.episode_starts import EpisodeStarts
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex
from pbrl.training.collector import Collector

STEPS = 230  # an episode of Pendulum has 200


class Watcher:
    def __init__(self, starts):
        self.starts = starts

    def watch(self, env, replay):
        self.watched = env, replay

    def episodes_begin(self, lanes):
        self.starts.note(*self.watched, lanes)


def collect(env_id, *, capacity=1_000, num_envs=2, num_steps=STEPS):
    """Steps at random, with the true states before each of them."""
    env = make(env_id, num_envs, seed=3, device="cpu", backend="official")
    shape = (num_envs, env.single_action_space.shape[0])
    replay = ReplayBuffer(
        capacity, env.single_observation_space.shape[0], shape[1], num_envs=num_envs
    )
    starts = EpisodeStarts(env_id)
    collector = Collector(env, replay, 3, Watcher(starts))
    generator = torch.Generator().manual_seed(0)
    states = []
    for _ in range(num_steps):
        states.append([env.get_state(lane) for lane in range(num_envs)])
        actions = 2 * torch.rand(shape, generator=generator) - 1
        collector.step(actions, lambda observations, actions, true: true)
    return replay, starts, states


@pytest.mark.parametrize("env_id", ["gym/Pendulum-v1", "gym/Hopper-v5"])
def test_the_state_before_any_segment_is_found(env_id):
    replay, starts, states = collect(env_id, num_steps=STEPS if "Pendulum" in env_id else 12)
    # Lane 1 of the second vector step belongs to episode 1; after a Pendulum's end to episode 3.
    wanted = {0: (0, 0), 7: (1, 7)}
    index = SegmentIndex(torch.tensor([0, 1]), torch.tensor(list(wanted)), torch.full((2,), 3))
    found = starts.states_before(replay, index)
    for state, (lane, step) in zip(found, wanted.values(), strict=True):
        true = states[step][lane]
        assert set(state) == {name for name in true if not name.startswith("data.")}
        for name, array in state.items():
            np.testing.assert_array_equal(array[0], true[name])


def test_episodes_after_the_first_are_known_too():
    replay, starts, states = collect("gym/Pendulum-v1")
    index = SegmentIndex(torch.tensor([3, 2]), torch.tensor([20, 4]), torch.tensor([5, 5]))
    found = starts.states_before(replay, index)
    np.testing.assert_array_equal(found[0]["attribute.state"][0], states[220][1]["attribute.state"])
    np.testing.assert_array_equal(found[1]["attribute.state"][0], states[204][0]["attribute.state"])
    again = EpisodeStarts("gym/Pendulum-v1")
    again.load_state_dict(starts.state_dict())
    (state,) = again.states_before(replay, index[:1])
    np.testing.assert_array_equal(state["attribute.state"], found[0]["attribute.state"])


def test_what_the_ring_has_overwritten_is_not_found():
    replay, starts, _ = collect("gym/Pendulum-v1", capacity=100)
    index = SegmentIndex(torch.tensor([0, 3]), torch.tensor([190, 0]), torch.tensor([5, 5]))
    lost, start = starts.states_before(replay, index)
    assert lost == {}
    assert start


def test_environments_without_readable_states_are_let_be():
    class Blind(VectorEnv):
        def get_state(self, lane):
            raise NotImplementedError

    starts = EpisodeStarts("gym/Pendulum-v1")
    replay = ReplayBuffer(10, 3, 1)
    starts.note(Blind(), replay, [0])
    assert starts.states_before(replay, SegmentIndex.empty(1)) == [{}]
