import pytest
import torch

from pbrl.feedback import Queries
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex, Segments


@pytest.fixture
def make_queries():
    """Queries from the true rewards of both segments, `[query, time]` each."""

    def make(rewards_0, rewards_1, *, lengths=None, recent_return=0.0, episode_length=1):
        rewards = torch.stack([torch.as_tensor(rewards_0), torch.as_tensor(rewards_1)], 1).float()
        number, _, horizon = rewards.shape
        if lengths is None:
            lengths = torch.full((number, 2), horizon)
        mask = torch.arange(horizon) < torch.as_tensor(lengths)[..., None]
        zeros = torch.zeros(number, 2, horizon, 1)
        index = torch.zeros(number, 2, dtype=torch.int64)
        return Queries(
            ids=torch.arange(number),
            index=SegmentIndex(index, index, mask.sum(-1)),
            segments=Segments(zeros, zeros, mask, rewards),
            recent_return=recent_return,
            episode_length=episode_length,
        )

    return make


@pytest.fixture
def make_replay():
    """A replay buffer of one environment holding complete episodes of the lengths given."""

    def make(lengths, *, observation_dim=3, action_dim=2, seed=0, capacity=None):
        generator = torch.Generator().manual_seed(seed)
        replay = ReplayBuffer(capacity or sum(lengths), observation_dim, action_dim)
        for length in lengths:
            observations = torch.randn(length + 1, observation_dim, generator=generator)
            actions = torch.rand(length, action_dim, generator=generator) * 2 - 1
            for step in range(length):
                replay.add(
                    observations[step : step + 1],
                    actions[step : step + 1],
                    torch.zeros(1),
                    observations[step : step + 1, 0],
                    observations[step + 1 : step + 2],
                    torch.zeros(1, dtype=torch.bool),
                    torch.tensor([step == length - 1]),
                )
        return replay

    return make


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
