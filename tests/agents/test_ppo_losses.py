import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.agents.ppo_losses import (
    clipped_surrogate,
    discounted_sums,
    divergence,
    generalized_advantages,
    standardized,
    value_loss,
)

COLUMN = (-1, 1)  # of one environment


def advantages(**changes):
    """Of three steps with V = 10, 20, 30 and then 40; gamma 0.5, lambda 0.5."""
    given = {
        "rewards": torch.tensor([1.0, 2.0, 3.0]),
        "values": torch.tensor([10.0, 20.0, 30.0]),
        "next_values": torch.tensor([20.0, 30.0, 40.0]),
        "terminated": torch.zeros(3),
        "is_last": torch.tensor([False, False, True]),
    } | {name: value for name, value in changes.items() if isinstance(value, torch.Tensor)}
    rates = {"discount": 0.5, "trace": 0.5}
    rates |= {name: value for name, value in changes.items() if isinstance(value, float)}
    columns = {name: value.view(COLUMN) for name, value in given.items()}
    return generalized_advantages(**columns, **rates).flatten().tolist()


def test_advantages_by_hand():
    # errors 1 + 10 - 10 = 1, 2 + 15 - 20 = -3, 3 + 20 - 30 = -7; a quarter of what follows
    assert advantages() == [1 + (-3 - 7 / 4) / 4, -3 - 7 / 4, -7]


def test_a_cut_episode_is_bootstrapped_and_nothing_flows_over_its_end():
    # its own last observation is worth 50, and the next episode begins at the third step
    cut = {"is_last": torch.tensor([False, True, True])}
    next_values = torch.tensor([20.0, 50.0, 40.0])
    assert advantages(**cut, next_values=next_values) == [1 + 7 / 4, 2 + 25 - 20, -7]


def test_after_a_terminal_state_there_is_nothing():
    ended = {"terminated": torch.tensor([0.0, 1.0, 0.0])}
    ended |= {"is_last": torch.tensor([False, True, True])}
    for worth in (50.0, -1e6):  # of the terminal state, which nobody asks
        next_values = torch.tensor([20.0, worth, 40.0])
        assert advantages(**ended, next_values=next_values) == [1 - 18 / 4, 2 - 20, -7]


def test_with_lambda_0_they_are_one_step_errors():
    assert advantages(trace=0.0) == [1, -3, -7]


def test_with_lambda_1_they_are_returns_minus_values():
    # 3 + 40 / 2 = 23, 2 + 23 / 2 = 13.5, 1 + 13.5 / 2 = 7.75
    assert advantages(trace=1.0) == [7.75 - 10, 13.5 - 20, 23 - 30]


@given(
    num_steps=st.integers(1, 20), seed=st.integers(0, 9), discount=st.sampled_from([0.0, 0.9, 1.0])
)
@settings(max_examples=25)
def test_sums_are_those_of_a_recursion(num_steps, seed, discount):
    draws = torch.Generator().manual_seed(seed)
    terms = torch.randn(2, num_steps, 3, generator=draws)
    factors = discount * (torch.rand(2, num_steps, 3, generator=draws) > 0.2).float()
    expected, after = torch.empty_like(terms), torch.zeros(2, 3)
    for time in reversed(range(num_steps)):
        after = expected[:, time] = terms[:, time] + factors[:, time] * after
    torch.testing.assert_close(discounted_sums(terms, factors), expected, rtol=1e-5, atol=1e-5)


def test_advantages_have_no_scale_and_no_shift_when_standardised():
    given = torch.tensor([[1.0, 2.0], [3.0, 6.0]])  # mean 3, variance (4 + 1 + 0 + 9) / 4
    expected = (given - 3) / math.sqrt(3.5)
    torch.testing.assert_close(standardized(given), expected)
    torch.testing.assert_close(standardized(100 * given - 7), expected)
    assert standardized(torch.full((3, 2), 5.0)).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.1, 2.0, -2.2, True),  # near: -r A
        (1.5, 2.0, -2.4, False),  # nothing beyond 1.2 is earned
        (0.5, 2.0, -1.0, True),  # but what was lost is won back
        (0.5, -2.0, 1.6, False),
        (1.5, -2.0, 3.0, True),
    ],
)
def test_the_clipped_objective_by_hand(ratio, advantage, loss, gradient):
    log_ratio = torch.tensor([math.log(ratio)], requires_grad=True)
    found = clipped_surrogate(log_ratio, torch.tensor([advantage]), 0.2)
    found.backward()
    assert float(found.detach()) == pytest.approx(loss)
    assert bool(log_ratio.grad != 0) == gradient


def test_without_a_change_of_policy_the_gradient_is_that_of_the_score():
    log_ratio = torch.zeros(3, requires_grad=True)
    given = torch.tensor([1.0, -2.0, 4.0])
    clipped_surrogate(log_ratio, given, 0.2).backward()
    torch.testing.assert_close(log_ratio.grad, -given / 3)


def test_the_loss_of_values_by_hand():
    assert float(value_loss(torch.tensor([1.0, 4.0]), torch.tensor([3.0, 3.0]))) == 1.25


def test_the_divergence_of_two_gaussians():
    """KL(N(0, 1) || N(m, 1)) = m^2 / 2, from samples of the first."""
    sample = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    log_ratio = -0.5 * (sample - 0.2).square() + 0.5 * sample.square()
    assert float(divergence(log_ratio)) == pytest.approx(0.02, rel=0.02)
    assert float(divergence(torch.zeros(3))) == 0
