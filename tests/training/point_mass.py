"""The four-goal point mass: a dataset in which a quarter of the episodes go where one wants to go.

x' = x + 0.1 u with |u| <= 1 for 50 steps from near the origin; episode i steers to goal i mod 4 of
(1, 0), (-1, 0), (0, 1), (0, -1) with noise. The true reward is minus the distance to the first.
"""

import gymnasium
import numpy as np
import torch

from pbrl.feedback import LabelledQueries
from pbrl.offline.dataset import DatasetInfo, OfflineDataset, ReferenceScores
from pbrl.pairs import LabelledPairs
from pbrl.replay import ReplayBuffer
from pbrl.training.fit_data import Data

STEPS = 50
GOALS = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
STILL, BEST = -50.4, -5.59  # returns of doing nothing and of going straight to the goal
ENV = "gym/PointMass-v0"


class PointMass(gymnasium.Env):
    """The point mass as an environment."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.normal(0, 0.1, 2).astype(np.float32)
        return self.x, {}

    def step(self, action):
        self.x = self.x + 0.1 * np.clip(action, -1, 1).astype(np.float32)
        return self.x, -float(np.linalg.norm(self.x - GOALS[0])), False, False, {}


gymnasium.register("PointMass-v0", entry_point=PointMass, max_episode_steps=STEPS)


def make_dataset(num_episodes=200, seed=0, env=ENV, **changes):
    """Return the dataset, normalised between doing nothing and the best."""
    rng = np.random.default_rng(seed)
    goal = GOALS[np.arange(num_episodes) % 4]
    x = rng.normal(0, 0.1, (num_episodes, 2)).astype(np.float32)
    observations, actions, rewards = [], [], []
    for _ in range(STEPS):
        noise = rng.normal(0, 1, (num_episodes, 2))
        u = np.clip(2 * (goal - x) + 0.3 * noise, -1, 1).astype(np.float32)
        observations.append(x)
        actions.append(u)
        x = x + np.float32(0.1) * u
        rewards.append(-np.linalg.norm(x - GOALS[0], axis=-1).astype(np.float32))
    flat = [torch.from_numpy(np.stack(part, 1)) for part in (observations, actions, rewards)]
    replay = ReplayBuffer.from_episodes(
        observations=flat[0].flatten(0, 1),
        actions=flat[1].flatten(0, 1),
        true_rewards=flat[2].flatten(),
        last_observations=torch.from_numpy(x),
        lengths=torch.full((num_episodes,), STEPS),
        terminated=torch.zeros(num_episodes, dtype=torch.bool),
    )
    reference = ReferenceScores(STILL, BEST, "point-mass") if env else None
    info = DatasetInfo(name="point-mass", family="test", env=env, reference=reference)
    return OfflineDataset(info, replay, **changes)


def make_data(num_pairs=200, length=15, seed=0, **changes):
    """Return the dataset and pairs of windows, labelled by the sums of their true rewards."""
    dataset = make_dataset(seed=seed, **changes)
    generator = torch.Generator().manual_seed(seed)
    index = dataset.replay.sample_segments(2 * num_pairs, length, generator).reshape(num_pairs, 2)
    return_0, return_1 = dataset.replay.gather(index).true_returns().unbind(-1)
    labels = LabelledQueries(index, (return_1 > return_0).float(), torch.ones(num_pairs))
    return Data(dataset, LabelledPairs(labels))
