import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbrl.ratings import class_boundaries, rating_logits, rating_loss, unit_scores


def test_two_classes_by_hand():
    # -30 (0.8 - 0) (0.8 - 0.5) = -7.2 and -30 (0.8 - 0.5) (0.8 - 1) = 1.8.
    logits = rating_logits(torch.tensor([0.8]), torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(logits, torch.tensor([[-7.2, 1.8]]))
    expected = torch.tensor([[0.000123, 0.999877]])
    torch.testing.assert_close(logits.softmax(-1), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.1, (0.985226, 0.014774, 0.000000)),
        (0.3, (0.499944, 0.499944, 0.000112)),
        (0.5, (0.014559, 0.970882, 0.014559)),
    ],
)
def test_three_classes_by_hand(score, expected):
    logits = rating_logits(torch.tensor([score]), torch.tensor([0.0, 0.3, 0.7, 1.0]))
    torch.testing.assert_close(logits.softmax(-1)[0], torch.tensor(expected), atol=1e-6, rtol=0)


def test_as_many_lie_below_a_boundary_as_are_rated_so():
    unit = torch.tensor([0.9, 0.0, 1.0, 0.4])
    # One is rated 0 and two 1: the boundaries are the scores of rank one and of rank three.
    bounds = class_boundaries(unit, torch.tensor([1, 0, 2, 1]), 3)
    torch.testing.assert_close(bounds, torch.tensor([0.0, 0.0, 0.9, 1.0]))


def test_a_class_that_nobody_gave_is_empty():
    unit = torch.tensor([0.0, 0.5, 1.0])
    bounds = class_boundaries(unit, torch.tensor([1, 1, 2]), 3)
    torch.testing.assert_close(bounds, torch.tensor([0.0, 0.0, 0.5, 1.0]))
    assert (class_boundaries(unit, torch.tensor([2, 2, 2]), 3) == torch.tensor([0, 0, 0, 1])).all()


def test_equal_scores_divide_nothing_by_zero():
    scores = torch.zeros(4, requires_grad=True)
    loss = rating_loss(scores, torch.tensor([0, 1, 0, 1]), 2)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert scores.grad.isfinite().all()
    assert (unit_scores(scores) == 0.5).all()


@given(st.integers(0, 2**31), st.floats(0.1, 50), st.floats(-20, 20))
def test_unit_and_origin_of_the_scores_do_not_count(seed, factor, shift):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    ratings = torch.randint(4, (3, 8), generator=generator)
    torch.testing.assert_close(
        rating_loss(factor * scores + shift, ratings, 4), rating_loss(scores, ratings, 4)
    )


def test_the_loss_is_least_in_the_order_of_the_ratings():
    ratings = torch.tensor([0, 1, 2, 3])
    ordered = rating_loss(torch.tensor([0.0, 1.0, 2.0, 3.0]), ratings, 4).mean()
    reversed_ = rating_loss(torch.tensor([3.0, 2.0, 1.0, 0.0]), ratings, 4).mean()
    assert ordered < reversed_
    assert rating_loss(torch.tensor([-1e3, 1e3, 0.0, 1.0]), ratings, 4).isfinite().all()
