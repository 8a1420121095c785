import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.gaussian_reward import (
    SMALLEST_STD,
    GaussianReward,
    GaussianRewardConfig,
    gaussian_entropy,
    sample_rewards,
    sampled_loss,
    uncertainty_loss,
)
from pbrl.preference import LossConfig, logistic_loss, make_loss

LOSS = make_loss(LossConfig())


def expected_loss(margin: float, std: float, label: float = 1.0) -> float:
    """Return the expectation over a Gaussian margin, by samples at Gauss-Hermite's points."""
    points, weights = np.polynomial.hermite_e.hermegauss(80)
    noise = torch.from_numpy(points)[:, None, None, None].expand(-1, 1, 2, 1)
    mean = torch.tensor([[[0.0], [margin]]], dtype=torch.float64)
    spread = torch.tensor([[[0.0], [std]]], dtype=torch.float64)
    mask = torch.ones(1, 2, 1, dtype=torch.bool)
    labels = torch.tensor([label], dtype=torch.float64)
    values = [
        sampled_loss(LOSS, sample_rewards(mean, spread, one[None]), mask, labels).item()
        for one in noise
    ]
    return float(np.dot(values, weights / weights.sum()))


@pytest.mark.parametrize(
    ("margin", "std", "loss"),
    [
        (0.0, 0.0, 0.693147),
        (1.0, 0.0, 0.313262),
        (1.0, 1.0, 0.406856),
        (1.0, math.sqrt(2), 0.491802),
        (1.0, 2.0, 0.642495),
        (-1.0, math.sqrt(2), 1.491802),
    ],
)
def test_expected_losses_by_hand(margin, std, loss):
    assert expected_loss(margin, std) == pytest.approx(loss, abs=2e-6)


def test_segments_by_hand():
    mean = torch.tensor([[0.2, 0.1, -0.3], [0.5, 0.4, 0.6]], dtype=torch.float64)
    std = torch.tensor([[0.1, 0.2, 0.2], [0.3, 0.1, 0.1]], dtype=torch.float64)
    margin, variance = mean.sum(-1).diff().item(), std.square().sum().item()
    assert (margin, variance) == pytest.approx((1.5, 0.2))
    assert expected_loss(margin, math.sqrt(variance)) == pytest.approx(0.216388, abs=2e-6)
    assert expected_loss(margin, math.sqrt(variance), 0.8) == pytest.approx(0.516388, abs=2e-6)
    plain = logistic_loss(torch.tensor([margin, margin]), torch.tensor([1.0, 0.8]))
    torch.testing.assert_close(plain, torch.tensor([0.201413, 0.501413]), atol=1e-6, rtol=0)
    draws = torch.Generator().manual_seed(0)
    noise = torch.randn(100_000, 1, 2, 3, generator=draws, dtype=torch.float64)
    samples = sample_rewards(mean[None], std[None], noise)
    mask = torch.ones(1, 2, 3, dtype=torch.bool)
    drawn = sampled_loss(LOSS, samples, mask, torch.tensor([1.0], dtype=torch.float64))
    assert drawn.item() == pytest.approx(0.216388, abs=2e-3)


def test_the_mean_of_losses_is_not_the_loss_of_the_mean():
    mean, std = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[0.0], [2.0]]])
    noise = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1).expand(-1, 1, 2, 1)
    samples = sample_rewards(mean, std, noise)
    mask = torch.ones(1, 2, 1, dtype=torch.bool)
    assert sampled_loss(LOSS, samples, mask, torch.ones(1)).item() == pytest.approx(
        0.680925, abs=1e-6
    )
    mean_probability = samples.diff(dim=2).sigmoid().mean()
    assert -mean_probability.log().item() == pytest.approx(0.493055, abs=1e-6)


def test_entropies_by_hand():
    found = gaussian_entropy(torch.tensor([1.0, 0.5, 0.1]))
    torch.testing.assert_close(found, torch.tensor([1.418939, 0.725791, -0.883647]))


def test_the_hinge_by_hand():
    std = torch.tensor([[[1.0, 0.1], [0.1, 5.0]]], requires_grad=True)
    mask = torch.tensor([[[True, True], [True, False]]])
    loss = uncertainty_loss(std, mask, 0.0)
    assert loss.item() == pytest.approx(2 * 0.883647 / 3, abs=1e-6)
    (gradient,) = torch.autograd.grad(loss.sum(), std)
    assert (gradient[0, 0, 1], gradient[0, 1, 0]) == pytest.approx((-10 / 3, -10 / 3))
    assert gradient[0, 0, 0] == gradient[0, 1, 1] == 0


@pytest.mark.parametrize(("std", "slope"), [(0.1, 0.019643), (1.0, 0.177943), (2.0, 0.280996)])
def test_samples_alone_drive_the_deviation_to_nothing(std, slope):
    width = 1e-4
    found = (expected_loss(1.0, std + width) - expected_loss(1.0, std - width)) / (2 * width)
    assert found == pytest.approx(slope, abs=1e-5)


@given(st.integers(0, 10_000), st.floats(-3, 3))
@settings(max_examples=25)
def test_properties_of_the_loss(seed, shift):
    draws = torch.Generator().manual_seed(seed)
    samples = torch.randn(4, 3, 2, 5, generator=draws, dtype=torch.float64)
    labels = torch.rand(3, generator=draws, dtype=torch.float64)
    mask = torch.ones(3, 2, 5, dtype=torch.bool)
    loss = sampled_loss(LOSS, samples, mask, labels)
    swapped = sampled_loss(LOSS, samples.flip(2), mask, 1 - labels)
    torch.testing.assert_close(loss, swapped)
    torch.testing.assert_close(loss, sampled_loss(LOSS, samples + shift, mask, labels))
    at_mean = sampled_loss(LOSS, samples.mean(0, keepdim=True), mask, labels)
    assert (loss >= at_mean - 1e-12).all()
    still = sample_rewards(samples[0], torch.zeros_like(samples[0]), samples)
    plain = sampled_loss(LOSS, samples[:1], mask, labels)
    torch.testing.assert_close(sampled_loss(LOSS, still, mask, labels), plain)


def test_every_parameter_has_a_part_and_the_deviation_stays_positive():
    draws = torch.Generator().manual_seed(0)
    network = GaussianReward(GaussianRewardConfig(hidden_sizes=(8,)), 3, 2, generator=draws)
    mean, std = network(torch.randn(4, 2, 5, 3), torch.randn(4, 2, 5, 2))
    assert mean.shape == std.shape == (4, 2, 5)
    assert (std > SMALLEST_STD).all()
    (mean.square() + std).sum().backward()
    assert all((part.grad != 0).any() for part in network.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ({"hidden_sizes": (0,)}, "hidden_sizes must be positive"),
        ({"mean_weight": -1.0}, "mean_weight must not be negative, got -1.0"),
        ({"uncertainty_weight": -1.0}, "uncertainty_weight must not be negative"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        GaussianRewardConfig(**change)
