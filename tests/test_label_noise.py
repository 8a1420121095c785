import math

import pytest
import torch
from torch import Tensor

from pbrl.label_noise import LabelNoise, LabelNoiseConfig, posterior
from pbrl.preference import LossConfig, logistic_loss, make_loss

PLAIN = make_loss(LossConfig())


def noise(loss=PLAIN, **settings) -> LabelNoise:
    return LabelNoise(LabelNoiseConfig(**{"warmup_updates": 0, **settings}), loss)


def scores(margin: Tensor) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(margin), margin


def test_the_weight_of_a_label_by_hand():
    probability = torch.tensor([0.9, 0.1, 0.5], dtype=torch.float64)
    margin = probability.logit()
    one = torch.ones_like(margin)
    losses = logistic_loss(margin, one), logistic_loss(margin, 1 - one)
    expected = torch.tensor([0.972973, 0.307692, 0.8], dtype=torch.float64)
    weights = posterior(*losses, torch.tensor(0.8, dtype=torch.float64))
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-6)


def test_the_loss_is_that_of_the_posterior_label():
    margin = torch.tensor(0.9).logit()
    loss = noise(reliability=0.8)(*scores(margin[None]), torch.ones(1))
    weight = 0.972973
    expected = weight * math.log1p(math.exp(-margin)) + (1 - weight) * math.log1p(math.exp(margin))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_swapping_the_segments_and_the_label_changes_nothing():
    score_0, score_1, label = torch.randn(3, 50).unbind()
    label = label.sigmoid()
    for config in (LossConfig(), LossConfig(name="biased"), LossConfig(name="ipo")):
        part = noise(make_loss(config))
        one = part(score_0, score_1, label)
        torch.testing.assert_close(part(score_1, score_0, 1 - label), one)


def test_a_warm_up_learns_from_the_plain_loss_and_leaves_the_estimate():
    part = noise(warmup_updates=2, rate=1.0)
    margin, label = torch.randn(100), torch.ones(100)
    for _ in range(2):
        assert torch.equal(part(*scores(margin), label), logistic_loss(margin, label))
        part.step()
        assert part.reliability.item() == pytest.approx(0.9)
    assert not torch.equal(part(*scores(margin), label), logistic_loss(margin, label))
    part.step()
    assert part.reliability.item() != pytest.approx(0.9)


def test_ties_stay_ties_and_are_not_counted():
    part = noise(rate=1.0)
    margin, tie = torch.randn(20), torch.full((20,), 0.5)
    torch.testing.assert_close(part(*scores(margin), tie), logistic_loss(margin, tie))
    part.step()
    assert part.reliability.item() == pytest.approx(0.9)


def test_without_gradients_nothing_is_counted():
    part = noise(rate=1.0)
    with torch.no_grad():
        part(*scores(torch.randn(20)), torch.ones(20))
    part.step()
    assert part.reliability.item() == pytest.approx(0.9)


def test_the_weights_carry_no_gradient():
    margin = torch.tensor([0.3], requires_grad=True)
    part = noise(reliability=0.8)
    part(torch.zeros(1), margin, torch.ones(1)).backward()
    p = torch.sigmoid(margin.detach())
    weight = 0.8 * p / (0.8 * p + 0.2 * (1 - p))
    torch.testing.assert_close(margin.grad, p - weight)


def flipped_labels(num: int, reliability: Tensor) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    margin = 2 * torch.randn(num, generator=generator)
    label = torch.bernoulli(margin.sigmoid(), generator=generator)
    is_right = torch.rand(num, generator=generator) < reliability
    return margin, torch.where(is_right, label, 1 - label)


def test_the_share_of_right_labels_is_found():
    margin, label = flipped_labels(200_000, torch.tensor(0.8))
    part = noise(reliability=0.6, rate=1.0)
    for _ in range(60):
        part(*scores(margin), label)
        part.step()
    assert part.reliability.item() == pytest.approx(0.8, abs=0.005)


def test_each_annotator_has_a_share_and_parts_of_a_step_count_once():
    annotators = torch.arange(60_000) % 3
    margin, label = flipped_labels(60_000, torch.tensor([0.6, 0.8, 1.0])[annotators])
    part = noise(reliability=0.75, rate=1.0, num_annotators=4)
    for _ in range(60):
        for rows in torch.arange(60_000).split(25_000):
            part(*scores(margin[rows]), label[rows], annotators[rows])
        part.step()
    expected = torch.tensor([0.6, 0.8, 1.0, 0.75])  # the last one never answered
    torch.testing.assert_close(part.reliability, expected, rtol=0, atol=0.02)


def test_the_state_goes_on():
    one, other = noise(rate=0.5), noise(rate=0.5)
    for _ in range(3):
        one(*scores(torch.randn(20)), torch.ones(20))
        one.step()
    other.load_state_dict(one.state_dict())
    margin = torch.randn(20)
    assert torch.equal(one(*scores(margin), torch.ones(20)), other(*scores(margin), torch.ones(20)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reliability": 0.5}, "reliability must lie in"),
        ({"rate": 0.0}, "rate must lie in"),
        ({"num_annotators": 0}, "num_annotators be at least 1"),
    ],
)
def test_bad_configurations_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LabelNoiseConfig(**settings)
