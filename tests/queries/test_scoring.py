import pytest
import torch

from pbrl.queries.scoring import query_margins
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.segments import SegmentIndex


class Replay:
    """Counts the steps read at once."""

    def __init__(self, replay):
        self.replay = replay
        self.largest = 0
        self.total = 0

    def completed_episodes(self, last=None):
        return self.replay.completed_episodes(last)

    def sample_segments(self, number, length, generator, episodes=None):
        return self.replay.sample_segments(number, length, generator, episodes)

    def gather(self, index):
        segments = self.replay.gather(index)
        self.largest = max(self.largest, segments.mask.numel())
        self.total += segments.mask.numel()
        return segments


class PeakModel:
    """Scores a segment by its largest observation, which is no sum of its steps."""

    def segment_returns(self, segments):
        peak = segments.observations[..., 0].masked_fill(~segments.mask, -torch.inf).amax(-1)
        return torch.stack([peak, 2 * peak])


@pytest.fixture
def ensemble():
    generator = torch.Generator().manual_seed(1)
    return RewardEnsemble(RewardConfig(hidden_sizes=(16, 16)), 3, 2, generator=generator)


def direct(replay, model, queries):
    with torch.no_grad():
        returns = model.segment_returns(replay.gather(queries))
    return returns[..., 1] - returns[..., 0]


@pytest.mark.parametrize("chunk_size", [7, 64, 500, 100_000])
@pytest.mark.parametrize("number", [1, 3, 200])
def test_margins_equal_those_of_gathered_pairs(
    make_replay, ensemble, generator, number, chunk_size
):
    replay = make_replay([30, 300, 41, 700])
    queries = replay.sample_segments(2 * number, 25, generator).reshape(number, 2)
    margins = query_margins(replay, ensemble, queries, chunk_size)
    torch.testing.assert_close(margins, direct(replay, ensemble, queries), atol=2e-5, rtol=1e-5)
    assert not margins.requires_grad


def test_segments_of_different_lengths(make_replay, ensemble):
    replay = make_replay([40, 60])
    index = SegmentIndex(
        torch.tensor([[0, 1], [1, 1], [0, 0]]),
        torch.tensor([[0, 5], [10, 59], [3, 3]]),
        torch.tensor([[40, 2], [30, 1], [5, 5]]),
    )
    margins = query_margins(replay, ensemble, index, 16)
    torch.testing.assert_close(margins, direct(replay, ensemble, index), atol=2e-5, rtol=1e-5)
    assert not margins[:, 2].any()


def test_after_the_ring_has_wrapped(make_replay, ensemble, generator):
    replay = make_replay([50] * 8, capacity=230)
    queries = replay.sample_segments(400, 20, generator).reshape(200, 2)
    margins = query_margins(replay, ensemble, queries, 64)
    torch.testing.assert_close(margins, direct(replay, ensemble, queries), atol=2e-5, rtol=1e-5)


def test_a_score_that_is_no_sum_is_asked_for_whole_segments(make_replay, generator):
    replay = make_replay([30, 30])
    queries = replay.sample_segments(40, 10, generator).reshape(20, 2)
    margins = query_margins(replay, PeakModel(), queries, 50)
    torch.testing.assert_close(margins, direct(replay, PeakModel(), queries))


def test_memory_is_bounded_and_overlapping_steps_are_read_once(make_replay, ensemble, generator):
    replay = Replay(make_replay([500, 500]))
    queries = replay.sample_segments(1000, 50, generator).reshape(500, 2)  # 50,000 steps
    query_margins(replay, ensemble, queries, 600)
    assert replay.largest <= 600
    assert replay.total <= 2 * 512
    few = Replay(replay.replay)
    query_margins(few, ensemble, queries[:1], 600)
    assert few.total <= 100
    whole = Replay(replay.replay)
    query_margins(whole, PeakModel(), queries, 600)
    assert whole.largest <= 600
    assert whole.total == 50_000
