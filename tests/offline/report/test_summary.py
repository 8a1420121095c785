import pytest
import torch

from pbrl.offline.dataset import DatasetInfo, OfflineDataset, ReferenceScores
from pbrl.offline.report.summary import summarize
from pbrl.replay import ReplayBuffer

LENGTHS, TERMINATED = [4, 4, 2, 1], [False, False, True, False]


@pytest.fixture
def dataset():
    """Returns 4, 0, 2 and -1."""
    rewards = [1.0] * 4 + [0.0] * 4 + [1.0] * 2 + [-1.0]
    replay = ReplayBuffer.from_episodes(
        observations=torch.zeros(11, 1),
        actions=torch.zeros(11, 1),
        true_rewards=torch.tensor(rewards),
        last_observations=torch.zeros(4, 1),
        lengths=torch.tensor(LENGTHS),
        terminated=torch.tensor(TERMINATED),
    )
    reference = ReferenceScores(random=-1.0, expert=4.0, family="test")
    return OfflineDataset(DatasetInfo(name="x", family="npz", reference=reference), replay)


def test_the_numbers_by_hand(dataset):
    summary = summarize(dataset)
    assert (summary.num_episodes, summary.num_steps) == (4, 11)
    assert (summary.lengths.least, summary.lengths.mean, summary.lengths.most) == (1, 2.75, 4)
    assert (summary.returns.least, summary.returns.mean, summary.returns.most) == (-1, 1.25, 4)
    assert summary.returns.percentiles[2] == 1.0
    assert summary.normalized.most == 100.0
    assert summary.normalized.mean == pytest.approx(45.0)
    assert summary.zero_rewards == pytest.approx(4 / 11)
    assert (summary.num_terminated, summary.num_longest, summary.num_cut) == (1, 2, 1)


def test_without_references_nothing_is_normalized(dataset):
    bare = OfflineDataset(DatasetInfo(name="x", family="npz"), dataset.replay)
    assert summarize(bare).normalized is None
