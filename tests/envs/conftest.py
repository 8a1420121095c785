"""An environment whose steps say where they belong, for tests of recording."""

import gymnasium
import numpy as np
import pytest
import torch

LENGTHS = [(3, True), (5, False)]  # of episodes, and whether they terminate


class Clock(gymnasium.Env):
    """Observes (episode, time), is rewarded by the action, ends after a number of steps."""

    observation_space = gymnasium.spaces.Box(-1e3, 1e3, (2,))
    action_space = gymnasium.spaces.Box(0.0, 10.0, (1,))

    def __init__(self, length, terminates):
        self.length, self.terminates = length, terminates
        self.episode, self.time = -1, 0

    def reset(self, *, seed=None, options=None):
        self.episode, self.time = self.episode + 1, 0
        return self.observe(), {}

    def observe(self):
        return np.array([self.episode, self.time], np.float32)

    def step(self, action):
        self.time += 1
        is_over = self.time == self.length
        return (
            self.observe(),
            float(action[0]),
            is_over and self.terminates,
            is_over and not self.terminates,
            {},
        )


def recorded_episodes(replay):
    """Return length, episode number and times of each complete episode."""
    found = []
    for episode in replay.completed_episodes():
        length = int(replay.episode_lengths(episode[None])[0])
        index = replay.sample_segments(1, length, torch.Generator(), episodes=episode[None])
        observations = replay.gather(index).observations[0]
        assert (observations[:, 0] == observations[0, 0]).all()  # one episode only
        assert observations[:, 1].tolist() == list(range(length))
        found.append((length, int(observations[0, 0])))
    return found


@pytest.fixture
def clock_constructors():
    """Return constructors of a terminating and a truncating clock."""
    return [lambda kind=kind: Clock(*kind) for kind in LENGTHS]


@pytest.fixture
def episodes_of():
    """Return what `recorded_episodes` does."""
    return recorded_episodes
