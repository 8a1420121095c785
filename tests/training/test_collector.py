import torch
from gymnasium.vector import VectorEnv

from pbrl import envs
from pbrl.replay import ReplayBuffer
from pbrl.training.collector import Collector
from tests.agents import tape

from .conftest import EPISODE_STEPS


def collector(num_envs: int = 2) -> Collector:
    env = envs.make("gym/Follow-v0", num_envs, seed=0, device="cpu")
    return Collector(env, ReplayBuffer(1_000, 2, 1, num_envs=num_envs), seed=0)


def test_steps_go_to_the_replay_with_both_rewards():
    collecting = collector()
    for _ in range(EPISODE_STEPS + 5):
        collecting.step(torch.zeros(2, 1), lambda observations, actions, true: -true)
    replay = collecting.replay
    assert replay.num_steps == 2 * (EPISODE_STEPS + 5)
    assert len(replay.completed_episodes()) == 2
    batch = replay.sample(200, torch.Generator().manual_seed(0))
    assert (batch.rewards <= 0).all()
    assert not batch.terminated.any()  # a time limit is not a terminal state


def test_recent_return_is_the_mean_of_finished_episodes():
    collecting = collector()
    assert collecting.recent_return == 0.0
    total = torch.zeros(2)
    for _ in range(EPISODE_STEPS):
        before = collecting.observations[:, 0].clone()
        collecting.step(torch.zeros(2, 1), lambda observations, actions, true: true)
        total += 1 - before.abs()
    assert abs(collecting.recent_return - float(total.mean())) < 1e-4
    state = collecting.state_dict()
    other = collector()
    other.load_state_dict(state)
    assert other.recent_return == collecting.recent_return


class Still(VectorEnv):
    """Two environments in which nothing happens, and no episode ends."""

    num_envs = 2

    def reset(self, *, seed=None, options=None):
        return torch.zeros(2, 3), {}

    def step(self, actions):
        never = torch.zeros(2, dtype=torch.bool)
        return torch.zeros(2, 3), torch.ones(2), never, never, {}


def test_a_step_in_which_no_episode_ends_waits_for_nothing(monkeypatch):
    collector = Collector(Still(), ReplayBuffer(20, 3, 1, num_envs=2), seed=0)
    actions = torch.zeros(2, 1)
    with tape.never_waiting(monkeypatch):
        for _ in range(3):
            collector.step(actions, lambda observations, actions, true: -true)
    assert collector.replay.num_steps == 6
