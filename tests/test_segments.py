import pytest
import torch

from pbrl.segments import SegmentIndex, Segments


def numbered_index() -> SegmentIndex:
    return SegmentIndex(torch.tensor([4, 5, 6]), torch.tensor([0, 1, 2]), torch.tensor([7, 8, 9]))


def as_lists(index: SegmentIndex) -> list[list[int]]:
    return [index.episode.tolist(), index.start.tolist(), index.length.tolist()]


def numbered_segments(*shape: int) -> Segments:
    """Three steps of two numbers and one action, all different."""
    count = int(torch.tensor(shape).prod())
    return Segments(
        torch.arange(count * 6.0).reshape(*shape, 3, 2),
        torch.arange(count * 3.0).reshape(*shape, 3, 1),
        torch.ones(*shape, 3, dtype=torch.bool),
        torch.arange(count * 3.0).reshape(*shape, 3),
    )


def test_index_is_cut_joined_and_reshaped_together():
    index = numbered_index()
    assert len(index) == 3
    assert index.shape == (3,)
    assert as_lists(index[1:]) == [[5, 6], [1, 2], [8, 9]]
    assert as_lists(index[torch.tensor([True, False, True])]) == [[4, 6], [0, 2], [7, 9]]
    assert as_lists(SegmentIndex.cat([index[2:], index[:1]])) == [[6, 4], [2, 0], [9, 7]]
    lists = index.reshape(1, 3)
    assert lists.shape == (1, 3)
    assert as_lists(lists.reshape(-1)) == as_lists(index)
    assert as_lists(index.to("cpu")) == as_lists(index)


def test_empty_index_joins_with_any():
    empty = SegmentIndex.empty(0, 2)
    assert len(empty) == 0
    pair = numbered_index()[:2].reshape(1, 2)
    assert as_lists(SegmentIndex.cat([empty, pair])) == as_lists(pair)
    assert as_lists(SegmentIndex.empty(2)) == [[0, 0], [0, 0], [0, 0]]


def test_columns_of_an_empty_index_do_not_share_memory():
    index = SegmentIndex.empty(2)
    index.episode[0] = 1
    assert as_lists(index) == [[1, 0], [0, 0], [0, 0]]


def test_columns_of_an_index_have_one_shape():
    with pytest.raises(TypeError, match="start"):
        SegmentIndex(torch.tensor([1, 2]), torch.tensor([1]), torch.tensor([1, 2]))


def test_segments_are_cut_and_reshaped_together():
    segments = numbered_segments(4)
    assert len(segments) == 4
    pairs = segments.reshape(2, 2)
    assert pairs.observations.shape == (2, 2, 3, 2)
    assert pairs.actions.shape == (2, 2, 3, 1)
    for name in ("observations", "actions", "mask", "true_rewards"):
        whole = getattr(segments, name)
        assert torch.equal(getattr(pairs, name)[1, 0], whole[2])
        assert torch.equal(getattr(pairs[:, 1], name), whole[1::2])
        assert torch.equal(getattr(pairs.reshape(4), name), whole)


def test_no_segments_are_reshaped_too():
    assert numbered_segments(0).reshape(0, 2).actions.shape == (0, 2, 3, 1)


def test_true_returns_count_the_steps_of_the_segment_only():
    segments = Segments(
        torch.zeros(2, 3, 1),
        torch.zeros(2, 3, 1),
        torch.tensor([[True, True, True], [True, True, False]]),
        torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]]),
    )
    assert segments.true_returns().tolist() == [7.0, 24.0]
    assert segments.reshape(1, 2).true_returns().tolist() == [[7.0, 24.0]]
