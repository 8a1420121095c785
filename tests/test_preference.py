import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pbrl.preference import (
    LossConfig,
    biased_loss,
    hinge_loss,
    ipo_loss,
    is_correct,
    logistic_loss,
    make_loss,
    mean_score,
    plackett_luce_loss,
    preference_metrics,
    robust_loss,
    smoothed_loss,
    sum_score,
)

CONFIGS = [
    LossConfig(),
    LossConfig(scale=0.5),
    LossConfig(name="smoothed", flip_rate=0.05),
    LossConfig(name="robust", flip_rate=0.2),
    LossConfig(name="hinge"),
    LossConfig(name="ipo", scale=0.5),
    LossConfig(name="biased", bias=0.5),
]
configs = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)


def of(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: Tensor, *expected: float, atol: float = 1e-6) -> None:
    torch.testing.assert_close(actual, of(*expected), rtol=0, atol=atol)


def test_logistic_loss_by_hand():
    # R0 = 0.3, R1 = 0.5, then R0 = 2, R1 = -1; labels 1, 0 and a tie each.
    margin = of(0.2, 0.2, 0.2, -3, -3, -3)
    label = of(1, 0, 0.5, 0, 1, 0.5)
    expected = (0.598139, 0.798139, 0.698139, 0.048587, 3.048587, 1.548587)
    close(logistic_loss(margin, label), *expected)
    close(margin.sigmoid()[[0, 3]], 0.549834, 0.047426)


def test_smoothed_loss_by_hand():
    close(smoothed_loss(of(0.2, 1.0), of(1, 1), 0.05)[:1], 0.608139)
    close(smoothed_loss(of(1.0, 1.0), of(1, 0.5), 0.2), 0.513262, 0.813262)


def test_robust_loss_by_hand():
    margin = of(1, 5, 20).requires_grad_()
    close(robust_loss(margin, of(1, 1, 1), 0.2), -0.020072, -1.659951, -6.666667)
    at_zero = of(0).requires_grad_()
    robust_loss(at_zero, of(1), 0.2).sum().backward()
    close(at_zero.grad, -0.8333333)


def test_robust_loss_is_unbiased_under_flips():
    margin = torch.linspace(-6, 6, 25, dtype=torch.float64)
    one = torch.ones_like(margin)
    expected = 0.8 * robust_loss(margin, one, 0.2) + 0.2 * robust_loss(margin, 1 - one, 0.2)
    torch.testing.assert_close(expected, logistic_loss(margin, one))


def test_a_flip_rate_of_zero_is_the_plain_loss_bit_for_bit():
    margin, label = torch.randn(100), torch.rand(100)
    plain = logistic_loss(margin, label)
    assert torch.equal(smoothed_loss(margin, label, 0.0), plain)
    assert torch.equal(robust_loss(margin, label, 0.0), plain)


def test_dpo_hinge_and_ipo_by_hand():
    # Margin 0.4 and beta 0.5.
    arguments = (of(0.1), of(0.5), of(1))
    close(make_loss(LossConfig(scale=0.5))(*arguments), 0.598139)
    close(make_loss(LossConfig(name="hinge", scale=0.5))(*arguments), 0.8)
    close(make_loss(LossConfig(name="ipo", scale=0.5))(*arguments), 0.36)
    close(hinge_loss(of(0.4, 0.4, 3, -3), of(0, 0.5, 1, 1)), 1.4, 1.0, 0, 4)
    # Equal scores: log 2 for the logistic loss, 1 / (4 beta^2) for IPO, 0 for IPO on a tie.
    close(ipo_loss(of(0, 0), of(1, 0.5), 0.5), 1.0, 0)


@pytest.mark.parametrize(
    ("score_0", "score_1", "label", "plain", "biased"),
    [
        (0, 0, 1, 0.693147, 0.693147),
        (-2, -1, 1, 0.313262, 0.693147),
        (-2, -1, 0, 1.313262, 1.701413),
        (-2, -1, 0.5, 0.813262, 1.197280),
        (-1, -1, 0.3, 0.693147, 0.974077),
        (-10, -10, 1, 0.693147, 5.006715),
        (-12, -10, 1, 0.126928, 4.018150),
        (-2000, -1000, 1, 0, 0.693147),
        (-2000, -1000, 0, 1000, 1500),
    ],
)
def test_biased_loss_by_hand(score_0, score_1, label, plain, biased):
    scores = of(score_0), of(score_1), of(label)
    close(biased_loss(*scores, 1.0), plain)
    close(biased_loss(*scores, 0.5), biased)


def test_gradients_of_the_biased_loss_by_hand():
    for bias, expected in ((1.0, (0.268941, -0.268941)), (0.5, (0.25, -0.5))):
        score_0, score_1 = of(-2).requires_grad_(), of(-1).requires_grad_()
        biased_loss(score_0, score_1, of(1), bias).sum().backward()
        close(torch.cat([score_0.grad, score_1.grad]), *expected)


def test_plackett_luce_by_hand():
    close(plackett_luce_loss(of(1, 0, -1))[None], 0.720868)
    close(plackett_luce_loss(of(-0.5, -2, -1))[None], 1.917392)
    close(plackett_luce_loss(of(2, 2, 2, 2))[None], math.log(24))  # log K!


def test_plackett_luce_of_two_is_the_logistic_loss_and_ignores_a_shift():
    scores = torch.randn(50, 2, dtype=torch.float64)
    expected = logistic_loss(scores[:, 0] - scores[:, 1], of(1))
    torch.testing.assert_close(plackett_luce_loss(scores), expected)
    lists = torch.randn(50, 5, dtype=torch.float64)
    torch.testing.assert_close(plackett_luce_loss(lists + 7), plackett_luce_loss(lists))


def test_plackett_luce_is_finite_for_large_scores():
    scores = torch.tensor([[1e3, 0, -1e3], [-1e3, 0, 1e3]], requires_grad=True)
    loss = plackett_luce_loss(scores)
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.tensor([0.0, 3e3]))
    assert scores.grad.isfinite().all()


scores = st.floats(-50, 50)


@configs
@settings(deadline=None)
@given(score_0=scores, score_1=scores, label=st.floats(0, 1))
def test_swapping_the_segments_and_the_label_changes_nothing(config, score_0, score_1, label):
    loss = make_loss(config)
    one = loss(of(score_0), of(score_1), of(label))
    other = loss(of(score_1), of(score_0), 1 - of(label))
    torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9)


@configs
def test_every_loss_is_finite_with_finite_gradients_far_out(config):
    score_0 = torch.tensor([1e3, -1e3, 1e3, -1e3] * 3, requires_grad=True)
    score_1 = torch.tensor([-1e3, 1e3, 1e3, -1e3] * 3, requires_grad=True)
    label = torch.tensor([0.0, 0.5, 1.0]).repeat_interleave(4)
    loss = make_loss(config)(score_0, score_1, label)
    loss.sum().backward()
    for values in (loss, score_0.grad, score_1.grad):
        assert values.isfinite().all()


@configs
def test_raising_the_preferred_score_lowers_the_loss(config):
    # From equal scores the first move towards the label pays, in every loss of the family.
    score = of(0.0).requires_grad_()
    make_loss(config)(of(0.0), score, of(1)).sum().backward()
    assert score.grad < 0


def test_confident_and_right_keeps_a_gradient_in_single_precision():
    for sign in (1.0, -1.0):
        margin = torch.tensor([30.0 * sign], requires_grad=True)
        loss = logistic_loss(margin, torch.tensor([max(sign, 0.0)]))
        loss.sum().backward()
        # softplus(-30) and its slope are both exp(-30).
        assert loss.item() == pytest.approx(math.exp(-30), rel=1e-5)
        assert abs(margin.grad.item()) == pytest.approx(math.exp(-30), rel=1e-5)


def test_labels_broadcast_over_members():
    label = torch.tensor([1.0, 0.0])
    score = torch.randn(3, 2)
    loss = make_loss(LossConfig())(torch.zeros(3, 2), score, label)
    torch.testing.assert_close(loss[1], logistic_loss(score[1], label))


def test_scores_leave_padding_out():
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, math.nan, math.nan], [math.nan] * 3])
    mask = torch.tensor([[True, True, True], [True, False, False], [False] * 3])
    torch.testing.assert_close(sum_score(values, mask), torch.tensor([6.0, 4.0, 0.0]))
    torch.testing.assert_close(mean_score(values, mask), torch.tensor([2.0, 4.0, 0.0]))


def test_a_constant_reward_changes_no_margin_of_equal_lengths():
    values = torch.randn(2, 10, dtype=torch.float64)
    mask = torch.arange(10) < 7
    one, other = (sum_score(rewards, mask) for rewards in (values, values + 3.0))
    torch.testing.assert_close(one[1] - one[0], other[1] - other[0])


def test_ties_are_neither_correct_nor_wrong():
    margin = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 0.0, 0.0])
    label = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.5, 0.5, 1.0, 0.0])
    expected = [True, False, False, True, False, False, False, False]
    assert is_correct(margin, label).tolist() == expected


def test_metrics_tell_the_two_sides_apart():
    metrics = preference_metrics(of(1, 5, 2, 3), of(2, 4, 1, 9), of(1, 1, 0, 0.5))
    expected = {"accuracy": 2 / 3, "score_preferred": 11 / 4, "score_other": 16 / 4}
    assert {name: value.item() for name, value in metrics.items()} == pytest.approx(expected)
    assert preference_metrics(of(1), of(2), of(0.5))["accuracy"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0.0}, "scale must be positive"),
        ({"flip_rate": 0.5}, "flip_rate must lie in"),
        ({"bias": 0.0}, "bias must lie in"),
    ],
)
def test_bad_configurations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        LossConfig(**arguments)


def test_an_unknown_loss_is_refused():
    config = LossConfig()
    object.__setattr__(config, "name", "square")  # past the annotation, as a stored file may be
    with pytest.raises(ValueError, match="name must be one of .*logistic.*got square"):
        make_loss(config)
