import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbrl.agents.iql_losses import (
    advantage_weights,
    bellman_target,
    critic_loss,
    expectile_loss,
    policy_loss,
    value_loss,
)


@pytest.mark.parametrize(
    ("expectile", "expected"), [(0.5, 0.875), (0.7, 1.091667), (0.9, 1.308333)]
)
def test_expectile_loss_by_hand(expectile, expected):
    # 0.7: (0.7 * 4 + 0.3 * 1 + 0.7 * 0.25) / 3
    loss = expectile_loss(torch.tensor([2.0, -1.0, 0.5]), expectile).mean()
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("expectile", "above", "below"), [(0.7, 0.7, 0.3), (0.75, 0.75, 0.25)])
def test_one_above_and_one_below(expectile, above, below):
    losses = expectile_loss(torch.tensor([1.0, -1.0]), expectile)
    torch.testing.assert_close(losses, torch.tensor([above, below]))


@given(st.floats(0.05, 0.95))
def test_the_expectile_of_zero_and_one_is_tau(expectile):
    value = torch.tensor(expectile, requires_grad=True)
    expectile_loss(torch.tensor([0.0, 1.0]) - value, expectile).sum().backward()
    assert abs(value.grad.item()) < 1e-6


def test_weights_by_hand():
    weights = advantage_weights(torch.tensor([2.0, -1.0, 0.5]), 3.0, 100.0)
    torch.testing.assert_close(weights, torch.tensor([100.0, 0.049787, 4.481689]))
    of_ipl = advantage_weights(torch.tensor([-0.5, 0.0, 0.5, 2.0]), 1 / 0.3333, 100.0)
    expected = torch.tensor([0.2231, 1.0, 4.4824, 100.0])
    torch.testing.assert_close(of_ipl, expected, atol=1e-4, rtol=0)


def test_weights_of_a_huge_advantage_stay_finite():
    assert advantage_weights(torch.tensor([1e4, -1e4]), 3.0, 100.0).tolist() == [100.0, 0.0]


def test_a_terminal_state_stops_the_target_and_nothing_flows_through_it():
    next_value = torch.tensor([10.0, 10.0], requires_grad=True)
    target = bellman_target(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0]), next_value, 0.9)
    torch.testing.assert_close(target, torch.tensor([10.0, 1.0]))
    assert not target.requires_grad


def test_each_loss_teaches_its_own_network_alone():
    q = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    value = torch.tensor([0.0, 0.0], requires_grad=True)
    value_loss(value, q.amin(0), 0.7).sum().backward()
    assert q.grad is None
    torch.testing.assert_close(value.grad, torch.tensor([-1.4, -2.8]))
    advantage = torch.tensor([0.5], requires_grad=True)
    log_prob = torch.tensor([-2.0], requires_grad=True)
    policy_loss(log_prob, advantage_weights(advantage, 1.0, 100.0)).sum().backward()
    assert advantage.grad is None
    torch.testing.assert_close(log_prob.grad, -torch.tensor([0.5]).exp())


def test_the_critics_errors_are_summed():
    q = torch.tensor([[1.0], [3.0]])
    torch.testing.assert_close(critic_loss(q, torch.tensor([0.0])), torch.tensor([10.0]))
