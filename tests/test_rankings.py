import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pbrl.preference import LossConfig, biased_loss, logistic_loss, make_loss
from pbrl.rankings import all_pairs_loss, lipo_loss, list_loss

SCORES = (-1.0, -0.5, -2.0)  # sheet: grades 1, 3, 2
CPL = make_loss(LossConfig(name="biased", bias=0.5))
PLAIN = make_loss(LossConfig(name="biased", bias=1.0))


def of(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: Tensor, expected: float, atol: float = 1e-6) -> None:
    torch.testing.assert_close(
        actual, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=atol
    )


def test_all_pairs_by_hand():
    grades = of(1, 3, 2)
    close(all_pairs_loss(of(*SCORES), grades, PLAIN), (1.313262 + 0.474077 + 0.201413) / 3)
    close(all_pairs_loss(of(*SCORES), grades, PLAIN), 0.662917)
    close(all_pairs_loss(of(*SCORES), grades, CPL), 0.956212)


def test_distances_of_a_deterministic_policy_by_hand():
    # Distances 0.2, 0.1, 0.4 in the order of their grades, temperature 0.1.
    scores, grades = -of(0.2, 0.1, 0.4) / 0.1, of(3, 2, 1)
    close(all_pairs_loss(scores, grades, PLAIN), 0.496259)
    close(all_pairs_loss(scores, grades, CPL), 0.902607)
    close(all_pairs_loss(scores, grades, lambda *args: biased_loss(*args, 0.0)), 1.855706)
    pair = -of(0.1, 0.3) / 0.1
    close(all_pairs_loss(pair, of(1, 0), CPL), 0.474077)


def test_all_pairs_is_the_mean_of_its_pairs_and_ignores_the_order():
    scores, grades = torch.randn(2, 6, dtype=torch.float64).unbind()
    grades[2] = grades[4]
    terms = [
        CPL(scores[i], scores[j], 0.5 + 0.5 * torch.sign(grades[j] - grades[i]))
        for i in range(6)
        for j in range(i)
    ]
    expected = torch.stack(terms).mean()
    torch.testing.assert_close(all_pairs_loss(scores, grades, CPL), expected)
    order = torch.randperm(6)
    torch.testing.assert_close(all_pairs_loss(scores[order], grades[order], CPL), expected)


def test_the_published_denominator_leaves_out_terms_that_round_to_zero():
    # Margins: 16 (kept), 17 (rounds to zero), 0.5, and their sums.
    scores, grades = torch.tensor([0.0, 16.0, 33.0, 33.5]), torch.arange(4.0)
    terms = [math.log1p(math.exp(-m)) for m in (16, 33, 33.5, 17, 17.5, 0.5)]
    plain = all_pairs_loss(scores, grades, PLAIN)
    compat = all_pairs_loss(scores, grades, PLAIN, compat="nonzero-mean")
    assert plain.item() == pytest.approx(sum(terms) / 6)
    assert compat.item() == pytest.approx(sum(terms) / 2)


def test_lipo_by_hand():
    scores, grades = of(0.2, 0.5, -0.1), of(1, 0.5, 0)
    weights = (0.311910, 0.188890, 0.298790)
    margins = (-0.3, 0.3, 0.6)
    by_hand = sum(w * math.log1p(math.exp(-m)) for w, m in zip(weights, margins, strict=True))
    assert by_hand == pytest.approx(0.501909, abs=5e-6)
    close(lipo_loss(scores, grades), 0.501909)


def test_lipo_of_two_is_the_logistic_loss_times_a_constant():
    scores = torch.randn(20, 2, dtype=torch.float64)
    expected = 0.532456 * logistic_loss(scores[:, 0] - scores[:, 1], of(1))
    torch.testing.assert_close(
        lipo_loss(scores, of(1, 0).expand(20, 2)), expected, rtol=1e-5, atol=1e-6
    )


def test_lipo_weights_carry_no_gradient_and_ties_no_loss():
    assert lipo_loss(of(3, -1, 2), of(0.4, 0.4, 0.4)) == 0
    scores = of(0.2, 0.5, -0.1).requires_grad_()
    lipo_loss(scores, of(1, 0.5, 0)).backward()
    # d/ds of w softplus(-m) is -w sigmoid(-m) for the better item.
    pulls = [w / (1 + math.exp(m)) for w, m in ((0.311910, -0.3), (0.188890, 0.3), (0.298790, 0.6))]
    expected = of(-pulls[0] - pulls[1], pulls[0] - pulls[2], pulls[1] + pulls[2])
    torch.testing.assert_close(scores.grad, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["all-pairs", "plackett-luce", "lipo"])
@given(shift=st.floats(-20, 20))
def test_a_constant_changes_no_loss_of_differences(name, shift):
    scores = torch.randn(4, 5, dtype=torch.float64)
    grades = torch.rand(4, 5, dtype=torch.float64)
    loss = make_loss(LossConfig())
    one = list_loss(name, scores, grades, loss)
    torch.testing.assert_close(list_loss(name, scores + shift, grades, loss), one)
    order = torch.randperm(5)
    torch.testing.assert_close(list_loss(name, scores[:, order], grades[:, order], loss), one)


@pytest.mark.parametrize("name", ["all-pairs", "plackett-luce"])
def test_a_list_of_two_is_a_pair(name):
    scores, grades = torch.randn(30, 2), torch.rand(30, 2)
    labels = (grades[:, 1] > grades[:, 0]).float()
    expected = logistic_loss(scores[:, 1] - scores[:, 0], labels)
    torch.testing.assert_close(list_loss(name, scores, grades, make_loss(LossConfig())), expected)


def test_plackett_luce_sorts_by_grade():
    close(list_loss("plackett-luce", of(-2, -0.5, -1), of(2, 3, 1), CPL), 1.917392)


@pytest.mark.parametrize("name", ["all-pairs", "plackett-luce", "lipo"])
def test_losses_of_lists_are_finite_far_out(name):
    scores = torch.tensor([1e3, 0.0, -1e3], requires_grad=True)
    for grades in ((0.0, 0.5, 1.0), (1.0, 0.5, 0.0)):
        loss = list_loss(name, scores, torch.tensor(grades), CPL)
        loss.backward()
        assert loss.isfinite()
        assert scores.grad.isfinite().all()
