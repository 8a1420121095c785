import pytest
import torch

from pbrl.agents.dtr_losses import (
    coefficient,
    critic_error,
    lowered,
    masked_error,
    normalized_value,
    return_targets,
    window_targets,
)

REWARDS = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
TEN, ENDED, GOES_ON = torch.tensor([10.0]), torch.tensor([True]), torch.tensor([False])


def test_targets_by_hand():
    expected = torch.tensor([[12.52, 12.8, 12.0, 10.0]])
    torch.testing.assert_close(window_targets(REWARDS, TEN, GOES_ON, 0.9), expected)


def test_padding_in_front_leaves_the_targets():
    padded = torch.cat([torch.zeros(1, 2), REWARDS], 1)
    target = window_targets(padded, TEN, GOES_ON, 0.9)[:, 2:]
    torch.testing.assert_close(target, torch.tensor([[12.52, 12.8, 12.0, 10.0]]))


def test_a_terminal_last_step_counts_its_reward_and_nothing_after_it():
    target = window_targets(REWARDS, TEN, ENDED, 0.9)
    torch.testing.assert_close(target, torch.tensor([[8.146, 7.94, 6.6, 4.0]]))


def test_the_released_code_discards_the_last_reward_of_a_terminal_window():
    target = window_targets(REWARDS, TEN, ENDED, 0.9, discard_last=True)
    torch.testing.assert_close(target, torch.tensor([[5.23, 4.7, 3.0, 0.0]]))


def test_the_last_step_and_padding_have_no_critic_error():
    q = torch.tensor([[[5.0, 1.0, 2.0, 9.0]], [[5.0, 0.0, 0.0, 9.0]]])
    target = torch.tensor([[0.0, 3.0, 2.0, 0.0]])
    mask = torch.tensor([[False, True, True, True]])
    # First critic (4 + 0) / 2, second (9 + 4) / 2.
    torch.testing.assert_close(critic_error(q, target, mask), torch.tensor(8.5))
    alone = torch.tensor([[False, False, False, True]])
    assert critic_error(q, target, alone) == 0


def test_no_gradient_reaches_the_target():
    q, target = torch.zeros(2, 1, 3, requires_grad=True), torch.ones(1, 3, requires_grad=True)
    critic_error(q, target, torch.ones(1, 3, dtype=torch.bool)).backward()
    assert q.grad is not None
    assert target.grad is None


@pytest.mark.parametrize(("which", "expected"), [(0, 0.625), (1, 0.571429)])
def test_the_value_of_one_critic_over_the_size_of_the_other_by_hand(which, expected):
    q = torch.tensor([[[2.0, -1.0, 4.0, 7.0]], [[1.0, -2.0, 5.0, 7.0]]])
    mask = torch.tensor([[True, True, True, False]])
    value = normalized_value(q, mask, torch.tensor(which))
    torch.testing.assert_close(value, torch.tensor(expected))
    torch.testing.assert_close(normalized_value(3 * q, mask, torch.tensor(which)), value)


def test_the_gradient_goes_through_one_critic_alone():
    q = torch.tensor([[[2.0, -1.0, 4.0]], [[1.0, -2.0, 5.0]]], requires_grad=True)
    mask = torch.ones(1, 3, dtype=torch.bool)
    normalized_value(q, mask, torch.tensor(0)).backward()
    torch.testing.assert_close(q.grad[0], torch.full((1, 3), 1 / 3 / (8 / 3)))
    assert bool((q.grad[1] == 0).all())


def test_the_coefficient_by_hand():
    steps = (0, 5_000, 25_000, 50_000, 60_000)
    assert [coefficient(3.0, n, 50_000) for n in steps] == pytest.approx([0, 0.3, 1.5, 3, 3])
    assert coefficient(3.0, 0, None) == 3.0


def test_return_targets_by_hand():
    factors, scale = (0.5, 0.75, 1.0, 1.5, 2.0), 10
    targets = torch.tensor(return_targets(400.0, factors)) / scale
    torch.testing.assert_close(targets, torch.tensor([20.0, 30.0, 40.0, 60.0, 80.0]))
    steps = torch.tensor([1, 250, 1000, 1200])
    left = lowered(targets, steps, 1000)
    torch.testing.assert_close(targets - left[0], torch.tensor([0.02, 0.03, 0.04, 0.06, 0.08]))
    torch.testing.assert_close(left[1], torch.tensor([15.0, 22.5, 30.0, 45.0, 60.0]))
    assert bool((left[2:] == 0).all())


def test_larger_factors_ask_for_more_even_where_the_best_return_is_negative():
    assert return_targets(-8.0, (0.5, 1.0, 2.0)) == (-12.0, -8.0, 0.0)


def test_masked_errors_by_hand():
    predicted = torch.tensor([[[1.0, 0.0], [5.0, 5.0]]])
    target = torch.tensor([[[0.0, 2.0], [0.0, 0.0]]])
    mask = torch.tensor([[True, False]])
    torch.testing.assert_close(masked_error(predicted, target, mask), torch.tensor(2.5))
    assert masked_error(predicted, target, torch.zeros(1, 2, dtype=torch.bool)) == 0


def test_returns_within_the_data_are_not_fooled_by_one_overestimated_reward():
    """The toy problem of the paper: the reward from s4 to s5 is 2 and estimated as 3.

    One-step values join it with the way from s1 to s4, on which no path of the data goes to s5.
    """
    paths = {
        ("s1", "s3", "s5"): (2.0, 2.0),
        ("s1", "s4", "s6"): (1.5, 0.0),
        ("s2", "s4", "s5"): (2.5, 3.0),
    }
    steps = {
        (path[i], path[i + 1]): rewards[i] for path, rewards in paths.items() for i in range(2)
    }
    value = {s: max(r for (a, _), r in steps.items() if a == s) for s in ("s3", "s4")}
    q = {s: steps["s1", s] + value[s] for s in ("s3", "s4")}
    assert q == {"s3": 4.0, "s4": 4.5}
    best = max((sum(r), path) for path, r in paths.items() if path[0] == "s1")
    assert best == (4.0, ("s1", "s3", "s5"))
