"""The online loop takes batched physics as it is: nothing on the way is copied through numpy."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from pbrl.envs.mjx.frames import WorldRenderer
from pbrl.envs.mjx.tasks import TASKS
from pbrl.envs.mjx.vector import BatchedVectorEnv
from pbrl.envs.record import EnvRecord
from pbrl.replay import ReplayBuffer
from pbrl.training.collector import Collector

NUM_WORLDS = 6
EPISODE_STEPS = 5


class StraightPhysics:
    """Physics in torch alone: what moves goes on, controls push it."""

    name = "straight"
    packages = ("torch",)
    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, model):
        self.model = model

    def step(self, state, controls, num_steps):
        qvel = state.qvel + 0.1 * num_steps * controls
        return replace(state, qvel=qvel, qpos=state.qpos + 0.1 * num_steps * qvel)

    def close(self):
        pass


@pytest.fixture
def env():
    task = TASKS["reacher-easy"]
    physics = StraightPhysics(task.build_model())
    record = EnvRecord(
        id="reacher",
        backend="straight",
        num_envs=NUM_WORLDS,
        max_episode_steps=EPISODE_STEPS,
    )
    return BatchedVectorEnv(
        task,
        physics,
        record=record,
        seed=0,
        device=torch.device("cpu"),
        renderer=WorldRenderer(physics.model, (8, 8), None),
    )


@contextmanager
def without_numpy():
    """Refuse every way from a tensor to an array and back, and to the processor's memory."""

    def refuse(*_, **__):
        raise AssertionError("data went through numpy or to the processor")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("numpy", "__array__", "cpu"):
            patch.setattr(torch.Tensor, name, refuse)
        patch.setattr(torch, "from_numpy", refuse)
        yield


def test_the_guard_refuses():
    with without_numpy(), pytest.raises(AssertionError, match="through numpy"):
        np.asarray(torch.zeros(2))


def test_steps_ends_and_beginnings_stay_on_the_device(env):
    replay = ReplayBuffer(200, 6, 2, num_envs=NUM_WORLDS)
    collector = Collector(env, replay, seed=0)
    expected = []
    with without_numpy():
        for _ in range(2 * EPISODE_STEPS + 1):
            expected.append(collector.observations)
            actions = torch.rand(NUM_WORLDS, 2)
            collector.step(actions, lambda observations, actions, true: -true)
    episodes = replay.completed_episodes()
    assert replay.episode_lengths(episodes).tolist() == [EPISODE_STEPS] * 2 * NUM_WORLDS
    stored = replay.gather(
        replay.sample_segments(1, EPISODE_STEPS, torch.Generator(), episodes=episodes[-1:])
    )
    last_world = torch.stack(expected[EPISODE_STEPS : 2 * EPISODE_STEPS])[:, -1]
    torch.testing.assert_close(stored.observations[0], last_world)
    assert len(collector.recent_returns) == 10
