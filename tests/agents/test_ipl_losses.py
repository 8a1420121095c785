import math

import pytest
import torch
from torch import Tensor

from pbrl.agents.ipl_losses import gumbel_loss, implied_reward, value_bound
from pbrl.agents.iql_losses import advantage_weights, expectile_loss
from pbrl.preference import logistic_loss

Q_1, NEXT_1 = torch.tensor([[1.0, 1.2, 0.8]]), torch.tensor([0.9, 1.0, 0.7])
Q_0, NEXT_0 = torch.tensor([[0.5, 0.4, 0.9]]), torch.tensor([0.6, 0.5, 0.8])
DISCOUNT = torch.full((3,), 0.99)


def test_a_reward_and_its_values_determine_each_other():
    # s0 -> s1 -> s1, one action, gamma 0.9.
    gamma, values = torch.full((2,), 0.9), torch.tensor([1.0, 2.0])
    rewards = implied_reward(values[None], values[[1, 1]], gamma)[0]
    torch.testing.assert_close(rewards, torch.tensor([-0.8, 0.2]))
    transition = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    solved = torch.linalg.solve(torch.eye(2) - 0.9 * transition, rewards)
    torch.testing.assert_close(solved, values)


def test_implied_rewards_and_losses_by_hand():
    reward_1 = implied_reward(Q_1, NEXT_1, DISCOUNT)
    reward_0 = implied_reward(Q_0, NEXT_0, DISCOUNT)
    torch.testing.assert_close(reward_1, torch.tensor([[0.109, 0.210, 0.107]]))
    torch.testing.assert_close(reward_0, torch.tensor([[-0.094, -0.095, 0.108]]))
    margin = (reward_1 - reward_0).sum()
    assert float(margin) == pytest.approx(0.507, abs=1e-6)
    for label, expected in ((1.0, 0.471440), (0.5, 0.724940), (0.0, 0.978440)):
        loss = logistic_loss(margin, torch.tensor(label))
        assert float(loss) == pytest.approx(expected, abs=1e-6)
    both = torch.cat([reward_0, reward_1]).square().mean()
    for regularizer, expected in ((0.5, 0.00807958), (3.0, 0.0484775), (4.0, 0.0646367)):
        assert regularizer * float(both) == pytest.approx(expected, abs=1e-6)
    of_dataset = torch.tensor([0.1, -0.2, 0.3, 0.0, 0.25]).square().mean()
    mixed = 0.5 * (0.5 * float(both)) + 0.5 * (0.5 * float(of_dataset))
    assert mixed == pytest.approx(0.0141648, abs=1e-6)


def test_the_gradient_reaches_q_alone():
    q, value = Q_1.clone().requires_grad_(), NEXT_1.clone().requires_grad_()
    implied_reward(q, value, DISCOUNT).sum().backward()
    torch.testing.assert_close(q.grad, torch.ones(1, 3))
    assert value.grad is None


def test_the_clip_of_a_value_by_hand():
    discount = torch.tensor([0.99, 0.0])
    for regularizer, expected in (
        (0.5, (200.0, 2.0)),
        (3.0, (33.3333, 1 / 3)),
        (4.0, (25.0, 0.25)),
    ):
        bound = value_bound(discount, regularizer)
        torch.testing.assert_close(bound, torch.tensor(expected), rtol=1e-4, atol=0)


def test_pieces_of_iql_by_hand():
    difference = torch.tensor([1.0, -1.0])
    for expectile in (0.7, 0.75):
        expected = torch.tensor([expectile, 1 - expectile])
        torch.testing.assert_close(expectile_loss(difference, expectile), expected)
    advantage = torch.tensor([-0.5, 0.0, 0.5, 2.0])
    for temperature, expected in (
        (0.3333, (0.2231, 1.0, 4.4824, 100.0)),
        (2.0, (0.7788, 1.0, 1.2840, 2.7183)),
    ):
        weights = advantage_weights(advantage, 1 / temperature, 100.0)
        torch.testing.assert_close(weights, torch.tensor(expected), rtol=0, atol=2e-4)


def minimum(loss_of, start: float = 0.0) -> float:
    """Return where a convex loss of one number is least."""
    value = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([value], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = loss_of(value)
        loss.backward()
        return loss

    for _ in range(5):
        optimizer.step(closure)
    return float(value.detach())


def test_an_expectile_of_two_equal_outcomes_is_its_level():
    outcomes = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert minimum(lambda v: expectile_loss(outcomes - v, 0.7).mean()) == pytest.approx(0.7)


def test_gumbel_regression_finds_the_soft_maximum():
    outcomes = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    for temperature in (0.5, 2.0):
        expected = temperature * float((outcomes / temperature).exp().mean().log())
        found = minimum(lambda v, t=temperature: gumbel_loss(outcomes - v, t, 20.0).mean())
        assert found == pytest.approx(expected, abs=1e-5)


def test_gumbel_loss_by_hand_and_cut_off():
    loss = gumbel_loss(torch.tensor([0.0, 2.0, -2.0, 1e6]), 2.0, 7.0)
    expected = torch.tensor([0.0, math.e - 2, 1 / math.e, math.exp(7) - 8])
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize(
    ("steps", "regularizer", "expected"),
    [(1, 0.5, 0.5213), (15, 3.0, 0.1227), (31, 4.0, 0.0747), (63, 0.5, 0.0606)],
)
def test_the_regulariser_bounds_the_implied_reward(steps, regularizer, expected):
    # One pair, everything distinct, V' = 0: r = +x and -x with c x = K sigmoid(-2 K x).
    def loss_of(x: Tensor) -> Tensor:
        preference = logistic_loss(2 * steps * x, torch.ones_like(x))
        return preference + regularizer * x.square()

    assert minimum(loss_of) == pytest.approx(expected, abs=5e-5)
