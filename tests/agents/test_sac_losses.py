import math

import torch

from pbrl.agents.sac_losses import (
    actor_loss,
    critic_loss,
    soft_target,
    soft_value,
    temperature_loss,
)

Q = torch.tensor([[1.0, 4.0], [3.0, 2.0]])  # [critic, batch]
LOG_PROB = torch.tensor([-1.0, 0.5])
TEMPERATURE = torch.tensor(0.2)


def test_soft_value_by_hand():
    # The smaller Q of each column is 1 and 2; minus 0.2 log pi.
    expected = torch.tensor([1.2, 1.9])
    torch.testing.assert_close(soft_value(Q, LOG_PROB, TEMPERATURE), expected)


def test_a_terminal_state_is_worth_nothing():
    rewards, next_value = torch.tensor([0.5, 0.5]), torch.tensor([10.0, 10.0])
    target = soft_target(rewards, torch.tensor([0.0, 1.0]), next_value, 0.9)
    torch.testing.assert_close(target, torch.tensor([9.5, 0.5]))


def test_critic_loss_by_hand():
    # Errors (0, 4) and (2, 2) against the target (1, 0): means 8 and 4, summed over the critics.
    torch.testing.assert_close(critic_loss(Q, torch.tensor([1.0, 0.0])), torch.tensor(12.0))


def test_no_gradient_flows_into_the_target():
    target = torch.tensor([1.0, 0.0], requires_grad=True)
    assert not critic_loss(Q, target).requires_grad


def test_actor_loss_by_hand():
    # -(1.2 + 1.9) / 2, and no gradient to the temperature.
    temperature = TEMPERATURE.clone().requires_grad_()
    loss = actor_loss(Q, LOG_PROB, temperature)
    torch.testing.assert_close(loss, torch.tensor(-1.55))
    assert not loss.requires_grad


def test_temperature_loss_by_hand():
    # Entropy 0.25; with the target -2 the loss is 0.2 * 2.25, and in log alpha its slope the same.
    log_temperature = torch.tensor(math.log(0.2), requires_grad=True)
    loss = temperature_loss(log_temperature.exp(), LOG_PROB, -2.0)
    torch.testing.assert_close(loss, torch.tensor(0.45))
    loss.backward()
    torch.testing.assert_close(log_temperature.grad, torch.tensor(0.45))
