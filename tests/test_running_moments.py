import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.running_moments import RunningMoments


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6), offset=st.floats(-100, 100))
def test_batches_in_any_sizes_give_the_moments_of_the_whole(sizes, offset):
    values = torch.randn(sum(sizes), 3, dtype=torch.float64) * 0.3 + offset
    moments = RunningMoments(3)
    for batch in values.split(sizes):
        moments.update(batch)
    assert moments.count == len(values)
    if len(values) > 1:
        torch.testing.assert_close(moments.mean, values.mean(0))
        torch.testing.assert_close(moments.std, values.std(0))


def test_by_hand():
    moments = RunningMoments()
    moments.update(torch.tensor([1.0, 1.0]))
    moments.update(torch.tensor([2.0, 4.0]))
    assert moments.mean.item() == 2.0
    assert moments.std.item() == pytest.approx(2**0.5)
    standard = moments.standardize(torch.tensor([2.0, 4.0]))
    torch.testing.assert_close(standard, torch.tensor([0.0, 2**0.5]))


def test_a_stationary_stream_keeps_its_scale():
    # Fifty batches of 64 from mean 2, std 0.35: merging with a missing product gives 0.38.
    generator = torch.Generator().manual_seed(0)
    moments = RunningMoments()
    for _ in range(50):
        moments.update(2 + 0.35 * torch.randn(64, generator=generator))
    assert moments.mean.item() == pytest.approx(2, abs=0.02)
    assert moments.std.item() == pytest.approx(0.35, abs=0.01)


def test_before_two_values_and_without_variance_the_scale_is_one():
    moments = RunningMoments(2)
    assert moments.std.tolist() == [1.0, 1.0]
    moments.update(torch.tensor([[3.0, 1.0]]))
    assert moments.std.tolist() == [1.0, 1.0]
    moments.update(torch.tensor([[3.0, 2.0], [3.0, 3.0]]))
    assert moments.std.tolist() == [1.0, 1.0]  # the first never varies, the second by 1


def test_state_travels_and_reset_forgets():
    moments = RunningMoments(2)
    moments.update(torch.randn(10, 2))
    other = RunningMoments(2)
    other.load_state_dict(moments.state_dict())
    assert torch.equal(other.std, moments.std)
    assert other.count == 10
    moments.reset()
    assert moments.count == 0
    assert not moments.mean.any()


def test_what_was_standardised_is_restored():
    moments = RunningMoments(2)
    moments.update(torch.tensor([[1.0, 10.0], [3.0, 10.0], [8.0, 10.0]]))
    values = torch.tensor([[0.5, -2.0], [4.0, 10.0]])
    torch.testing.assert_close(moments.restore(moments.standardize(values)), values)
    # mean 4 and variance (9 + 1 + 16) / 2; the second number never varied
    assert moments.restore(torch.tensor([1.0, 1.0])).tolist() == pytest.approx([4 + 13**0.5, 11])
