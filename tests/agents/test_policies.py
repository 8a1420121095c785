import math

import pytest
import torch

from pbrl.agents.policies import (
    PolicyConfig,
    gaussian_log_density,
    make_policy,
    squared_error_log_density,
)


def policy(observation_dim=3, action_dim=2, seed=0, **changes):
    config = PolicyConfig(**({"hidden_sizes": (16, 16)} | changes))
    return make_policy(config, observation_dim, action_dim, torch.Generator().manual_seed(seed))


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_papers_sizes():
    cpl = {"kind": "fixed-variance", "hidden_sizes": (512, 512), "dropout": 0.25}
    assert count(policy(35, 4, **cpl)) == 283_140  # CPL, state
    # 39 * 256 + 256 + 2 (256 * 256 + 256) + 256 * 4 + 4, and four standard deviations
    assert count(policy(39, 4, hidden_sizes=(256, 256, 256))) == 142_856


def test_log_density_of_a_fixed_variance_by_hand():
    mean = torch.tensor([[0.0, 0.0], [0.5, -0.5], [1.0, 0.0]])
    actions = torch.tensor([[0.1, 0.0], [0.5, -0.3], [0.8, 0.2]])
    expected = torch.tensor([-0.01, -0.04, -0.08])
    torch.testing.assert_close(squared_error_log_density(mean, actions), expected)


def test_log_density_of_a_unit_gaussian_is_half_of_it_and_a_constant():
    mean, actions = torch.tensor([[0.5, -0.5]]), torch.tensor([[0.5, -0.3]])
    expected = torch.tensor([-0.02 - math.log(2 * math.pi)])
    torch.testing.assert_close(gaussian_log_density(mean, torch.zeros(2), actions), expected)


def test_log_density_of_a_gaussian_is_that_of_torch():
    torch.manual_seed(0)
    mean, log_std, actions = torch.randn(5, 3), torch.randn(3), torch.randn(5, 3)
    expected = torch.distributions.Normal(mean, log_std.exp()).log_prob(actions).sum(-1)
    torch.testing.assert_close(gaussian_log_density(mean, log_std, actions), expected)


@pytest.mark.parametrize("kind", ["fixed-variance", "gaussian"])
def test_batches_of_any_shape(kind):
    made = policy(kind=kind)
    assert made.log_prob(torch.randn(4, 2, 5, 3), torch.randn(4, 2, 5, 2)).shape == (4, 2, 5)
    assert made.act(torch.randn(7, 3), deterministic=True).shape == (7, 2)


@pytest.mark.parametrize("kind", ["fixed-variance", "gaussian"])
def test_every_parameter_gets_a_gradient(kind):
    made = policy(kind=kind, dropout=0.1)
    made.log_prob(torch.randn(50, 3), torch.randn(50, 2)).mean().backward()
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in made.parameters())


def test_dropout_is_in_the_density_and_never_in_an_action():
    made, seen = policy(dropout=0.5), torch.randn(20, 3)
    assert not torch.equal(made.mean(seen), made.mean(seen))
    first, second = (made.act(seen, deterministic=True) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert made.training
    made.eval()
    made.act(seen, deterministic=True)
    assert not made.training
    torch.testing.assert_close(made.mean(seen), first)


def test_samples_stay_in_the_box_and_have_the_standard_deviation():
    made = policy(action_dim=1)
    made.log_std.data.fill_(math.log(0.1))
    seen = torch.zeros(20_000, 3)
    actions = made.act(seen, deterministic=False, generator=torch.Generator().manual_seed(0))
    assert actions.std() == pytest.approx(0.1, abs=0.003)
    made.log_std.data.fill_(10.0)  # beyond its bounds
    assert made.std().item() == pytest.approx(math.exp(2))
    wide = made.act(seen, deterministic=False, generator=torch.Generator().manual_seed(0))
    assert (wide.min(), wide.max()) == (-1, 1)


def test_a_policy_of_fixed_variance_acts_by_its_mean():
    made, seen = policy(kind="fixed-variance"), torch.randn(4, 3)
    assert made.std() is None
    torch.testing.assert_close(made.act(seen, deterministic=False), made.mean(seen))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dropout": 1.0}, "dropout must be in"),
        ({"hidden_sizes": (0,)}, "hidden_sizes must be positive"),
        ({"log_std_bounds": (2.0, -5.0)}, "log_std_bounds must be increasing"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        PolicyConfig(**change)
