import pytest
import torch

from pbrl.feedback import LabelledQueries
from pbrl.pairs import LabelledPairs, OfflineBatchSizes, PairBatch, ScoredSegments
from pbrl.segments import SegmentIndex, Segments


def index(*episodes: int) -> SegmentIndex:
    episode = torch.tensor(episodes)
    return SegmentIndex(episode, torch.zeros_like(episode), torch.full_like(episode, 5))


def test_of_a_tie_both_segments_are_preferred() -> None:
    steps = torch.zeros(3, 2, 1)
    segments = Segments(steps[..., None], steps[..., None], steps == 0, steps)
    batch = PairBatch(segments, torch.tensor([0.0, 0.5, 1.0]), torch.ones(3))
    assert batch.is_preferred().tolist() == [[True, False], [True, True], [False, True]]


def test_pairs_are_drawn_with_their_labels() -> None:
    labelled = LabelledQueries(
        index(0, 1, 1, 2).reshape(2, 2), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 3.0])
    )
    data = LabelledPairs(labelled)
    assert data.segments.episode.tolist() == [0, 1, 2]
    drawn = data.draw(100, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.index.episode[:, 0], drawn.labels.long())
    assert torch.equal(drawn.weights, 1 + 2 * drawn.labels)
    assert set(drawn.labels.tolist()) == {0.0, 1.0}


def test_no_pairs_are_refused() -> None:
    nothing = LabelledQueries(SegmentIndex.empty(0, 2), torch.zeros(0), torch.zeros(0))
    with pytest.raises(ValueError, match="no labelled pair"):
        LabelledPairs(nothing)


def test_scores_order_any_two_segments() -> None:
    scores = torch.tensor([1.0, 3.0, 1.0, 2.0])
    data = ScoredSegments(index(0, 1, 2, 3), scores)
    pairs = torch.tensor([[0, 1], [1, 0], [0, 2]])
    assert data.label(pairs).labels.tolist() == [1.0, 0.0, 0.5]
    drawn = data.draw(500, torch.Generator().manual_seed(0))
    first, second = drawn.index.episode.unbind(1)
    assert bool((first != second).all())
    assert len(torch.unique(first * 4 + second)) == 12
    expected = (torch.sign(scores[second] - scores[first]) + 1) / 2
    assert torch.equal(drawn.labels, expected)


def test_lists_hold_different_segments_with_their_scores() -> None:
    scores = torch.tensor([1.0, 3.0, 1.5, 2.0])
    data = ScoredSegments(index(0, 1, 2, 3), scores)
    drawn, grades = data.draw_lists(200, 3, torch.Generator().manual_seed(0))
    assert drawn.shape == grades.shape == (200, 3)
    assert torch.equal(scores[drawn.episode], grades)
    assert all(len(set(row)) == 3 for row in drawn.episode.tolist())
    counts = torch.bincount(drawn.episode.flatten(), minlength=4)
    assert bool((counts > 120).all())  # 150 each on average
    with pytest.raises(ValueError, match="a list of 5 needs"):
        data.draw_lists(1, 5, torch.Generator())


@pytest.mark.parametrize(
    ("scores", "match"),
    [([1.0, 2.0], "3 segments and 2"), ([1.0, float("nan"), 0.0], "finite")],
)
def test_scores_that_fit_nothing_are_refused(scores: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        ScoredSegments(index(0, 1, 2), torch.tensor(scores))


def test_an_update_that_draws_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="not all 0"):
        OfflineBatchSizes()
    with pytest.raises(ValueError, match="segment_steps"):
        OfflineBatchSizes(pairs=1, segment_steps=0)
    with pytest.raises(ValueError, match="items of a list"):
        OfflineBatchSizes(lists=1)
