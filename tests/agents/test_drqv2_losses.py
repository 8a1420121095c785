import pytest
import torch

from pbrl.agents.drqv2_losses import clip_to_cube, policy_loss, standard_deviation


@pytest.mark.parametrize(
    ("num_updates", "expected"), [(0, 1.0), (125_000, 0.55), (250_000, 0.1), (10**6, 0.1)]
)
def test_the_noise_by_hand(num_updates, expected):
    assert standard_deviation(num_updates, (1.0, 0.1), 250_000) == pytest.approx(expected)


def test_actions_beyond_the_edge_keep_their_gradient():
    actions = torch.tensor([-3.0, 0.5, 1.2], requires_grad=True)
    cut = clip_to_cube(actions)
    cut.sum().backward()
    torch.testing.assert_close(cut.detach(), torch.tensor([-1.0, 0.5, 1.0]))
    assert cut.abs().max() < 1
    assert actions.grad.tolist() == [1.0, 1.0, 1.0]


def test_the_policy_s_losses_by_hand():
    q = torch.tensor([2.0, -4.0])
    means, actions = torch.tensor([[0.5], [0.0]]), torch.tensor([[0.0], [1.0]])
    assert policy_loss(q, means, actions).item() == 1.0
    # mean |Q| = 3, so alpha 2.5 weighs the mean -1 with 2.5 / 3; cloning costs (0.25 + 1) / 2.
    assert policy_loss(q, means, actions, 2.5).item() == pytest.approx(0.625 + 2.5 / 3)


def test_the_scale_of_q_does_not_count_beside_cloning():
    q, means, actions = torch.randn(8), torch.randn(8, 2), torch.randn(8, 2)
    torch.testing.assert_close(
        policy_loss(q, means, actions, 2.5), policy_loss(1e3 * q, means, actions, 2.5)
    )
