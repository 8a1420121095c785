import pytest
import torch

from pbrl.agents.oppo_losses import (
    distances,
    nearest_mean,
    norm_loss,
    preference_loss,
    released_preference_loss,
    triplet_loss,
)

CONTEXT = torch.tensor([2.0, 0.0])
POSITIVE = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
NEGATIVE = torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
ONES = torch.ones(3)


def test_the_triplet_loss_by_hand():
    torch.testing.assert_close(
        distances(CONTEXT, POSITIVE), torch.tensor([1.0, 1.612452, 2.236068])
    )
    torch.testing.assert_close(distances(CONTEXT, NEGATIVE), torch.tensor([2.236068, 1.0, 3.0]))
    terms = triplet_loss(CONTEXT, POSITIVE, NEGATIVE)
    torch.testing.assert_close(terms, torch.tensor([0.0, 1.612452, 0.236068]))
    theirs = torch.nn.functional.triplet_margin_loss(
        CONTEXT.expand(3, -1), POSITIVE, NEGATIVE, reduction="none"
    )
    torch.testing.assert_close(terms, theirs, rtol=0, atol=5e-6)


def test_the_gradient_and_one_step_by_hand():
    context = CONTEXT.clone().requires_grad_()
    loss = triplet_loss(context, POSITIVE, NEGATIVE).mean()
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor(0.616173))
    torch.testing.assert_close(context.grad, torch.tensor([-0.079110, -0.314451]))
    moved = CONTEXT - 0.1 * context.grad
    torch.testing.assert_close(moved, torch.tensor([2.007911, 0.031445]))
    after = triplet_loss(moved, POSITIVE, NEGATIVE).mean()
    torch.testing.assert_close(after, torch.tensor(0.605617))


def test_either_side_may_be_preferred_and_ties_are_left_out():
    codes = torch.stack(
        [torch.stack([POSITIVE, NEGATIVE], 1), torch.stack([NEGATIVE, POSITIVE], 1)]
    )
    for order, label in ((codes[0], 0.0), (codes[1], 1.0)):
        loss = preference_loss(CONTEXT, order, torch.full((3,), label), ONES)
        torch.testing.assert_close(loss, torch.tensor(0.616173))
    labels = torch.tensor([0.0, 0.5, 0.0])
    torch.testing.assert_close(
        preference_loss(CONTEXT, codes[0], labels, ONES), torch.tensor(0.118034)
    )
    weights = torch.tensor([3.0, 1.0, 1.0])
    torch.testing.assert_close(
        preference_loss(CONTEXT, codes[0], labels, weights), torch.tensor(0.059017)
    )


def test_ties_alone_cost_nothing_and_move_nothing():
    context = CONTEXT.clone().requires_grad_()
    loss = preference_loss(
        context, torch.stack([POSITIVE, NEGATIVE], 1), torch.full((3,), 0.5), ONES
    )
    loss.backward()
    assert loss == 0
    assert bool((context.grad == 0).all())


def test_the_released_program_takes_the_first_of_a_tie_for_the_better_one():
    pair = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    tie = torch.tensor([0.5])
    assert released_preference_loss(CONTEXT, pair, tie) == 0
    swapped = released_preference_loss(CONTEXT, pair.flip(1), tie)
    torch.testing.assert_close(swapped, torch.tensor(1.236068))
    both = torch.cat([pair.flip(1), torch.stack([POSITIVE, NEGATIVE], 1)[1:2]])
    loss = released_preference_loss(CONTEXT, both, torch.tensor([0.5, 0.0]))
    torch.testing.assert_close(loss, torch.tensor((1.236068 + 1.612452) / 2))


def test_norm_terms_by_hand():
    codes = torch.tensor([[0.5, 0.0], [0.0, 2.0], [0.6, 0.8]])
    torch.testing.assert_close(norm_loss(codes, "squared"), torch.tensor(0.416667))
    torch.testing.assert_close(norm_loss(codes, "hinge"), torch.tensor(0.333333))


@pytest.mark.parametrize(
    ("size", "gap"), [(1, 1.4142), (2, 1.2361), (5, 1.0990), (20, 1.0250), (100, 1.0050)]
)
def test_far_from_the_codes_the_loss_is_linear(size, gap):
    context = torch.tensor([float(size), 0.0], requires_grad=True)
    near, far = (distances(context, torch.tensor(code)) for code in ([1.0, 0.0], [0.0, 1.0]))
    assert float((far - near).detach()) == pytest.approx(gap, abs=1e-4)
    (far - near).backward()
    assert context.grad.norm() <= 1.5 / size


def test_the_mean_of_the_nearest_codes():
    codes = torch.tensor([[2.0, 1.0], [9.0, 9.0], [2.0, -3.0], [-9.0, 0.0]])
    assert nearest_mean(CONTEXT, codes, 2).tolist() == [2.0, -1.0]
    assert nearest_mean(CONTEXT, codes, 20).tolist() == codes.mean(0).tolist()
