import math

import pytest
import torch
from torch import distributions

from pbrl.agents.tanh_gaussian import TanhGaussian, bounded_log_std, log_density, squash


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_rescaled_log_std_by_hand():
    raw = torch.tensor([-1e3, 0.0, 1e3])
    expected = torch.tensor([-5.0, -1.5, 2.0])
    torch.testing.assert_close(bounded_log_std(raw, (-5.0, 2.0), "tanh"), expected)


def test_clamped_log_std_by_hand():
    raw = torch.tensor([-1e3, 0.5, 1e3])
    expected = torch.tensor([-20.0, 0.5, 2.0])
    torch.testing.assert_close(bounded_log_std(raw, (-20.0, 2.0), "clamp"), expected)


def test_density_at_the_centre_by_hand():
    # tanh has slope 1 at 0: only the two Gaussians remain, log 1/(std sqrt(2 pi)) each.
    zeros = torch.zeros(1, 2)
    _, density = squash(zeros, torch.tensor([[0.0, math.log(2.0)]]), zeros)
    expected = -math.log(2 * math.pi) - math.log(2.0)
    torch.testing.assert_close(density, torch.tensor([expected]))


def test_samples_and_densities_equal_those_of_torchs_distributions():
    mean, log_std, noise = draw(50, 3), 0.5 * draw(50, 3, seed=1) - 1.0, draw(50, 3, seed=2)
    actions, density = squash(mean, log_std, noise)
    before = mean + log_std.exp() * noise
    torch.testing.assert_close(actions, before.tanh())
    transform = distributions.TanhTransform(cache_size=1)
    squashed = distributions.TransformedDistribution(
        distributions.Normal(mean, log_std.exp()), [transform]
    )
    expected = squashed.log_prob(transform(before)).sum(-1)
    torch.testing.assert_close(density, expected)
    torch.testing.assert_close(log_density(mean, log_std, actions), expected, rtol=1e-3, atol=1e-3)


def test_the_density_integrates_to_one():
    actions = torch.linspace(-0.9999, 0.9999, 40_001).unsqueeze(-1)
    mean, log_std = torch.full_like(actions, 0.3), torch.full_like(actions, -0.7)
    total = torch.trapezoid(log_density(mean, log_std, actions).exp(), actions.squeeze(-1))
    torch.testing.assert_close(total, torch.tensor(1.0), rtol=1e-3, atol=1e-3)


def test_far_samples_and_actions_on_the_bounds_stay_finite():
    mean = torch.tensor([[1e3], [-1e3]], requires_grad=True)
    actions, density = squash(mean, torch.zeros(2, 1), torch.zeros(2, 1))
    assert torch.equal(actions.detach(), torch.tensor([[1.0], [-1.0]]))
    # log(1 - tanh(u)^2) tends to 2 log 2 - 2 |u|.
    expected = 2e3 - 2 * math.log(2) - 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(density.detach(), torch.full((2,), expected))
    density.sum().backward()
    torch.testing.assert_close(mean.grad, torch.tensor([[2.0], [-2.0]]))
    bounds = torch.tensor([[1.0], [-1.0]])
    assert log_density(torch.zeros(2, 1), torch.zeros(2, 1), bounds).isfinite().all()


@pytest.mark.parametrize("shape", [(4,), (7, 4), (2, 7, 4)])
def test_the_network_takes_any_leading_shape(shape):
    policy = TanhGaussian(4, 3, (8, 8), generator=torch.Generator().manual_seed(0))
    mean, log_std = policy(draw(*shape))
    assert mean.shape == log_std.shape == (*shape[:-1], 3)
    assert ((log_std > -5.0) & (log_std < 2.0)).all()
