import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.offline.segment_scores import needs_value, step_contributions

# Sheet of CPL, check C9: four steps, V of each state.
REWARDS = torch.tensor([1.0, 0.0, 0.5, 2.0])
VALUES = torch.tensor([3.0, 2.0, 2.5, 2.0])
MASK = torch.ones(4, dtype=torch.bool)


def score(name, rewards=REWARDS, values=VALUES, mask=MASK, discount=0.99):
    return float(step_contributions(name, rewards, values, mask, discount).sum(-1))


@pytest.mark.parametrize(
    ("name", "discount", "expected"),
    [
        ("return", 0.99, 3.5),
        ("discounted-return", 0.5, 1 + 0.5 / 4 + 2 / 8),
        ("regret", 0.99, 1 + 0 + 0.5 + 2 - 3),
        ("discounted-regret", 1.0, 0.5),
        ("discounted-regret", 0.99, 0.430648),
    ],
)
def test_the_worked_numbers(name, discount, expected):
    assert score(name, discount=discount) == pytest.approx(expected, abs=5e-7)


def test_regret_is_the_sum_of_one_step_advantages():
    steps = step_contributions("regret", REWARDS, VALUES, MASK, 0.99)
    assert steps.tolist() == [0.0, 0.5, 0.0, 0.0]


def test_the_last_action_does_not_enter_a_regret():
    changed = REWARDS.clone()
    changed[-1] = 1_000.0
    for name in ("regret", "discounted-regret"):
        assert score(name, changed) == score(name)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-5, 5, width=32), min_size=3, max_size=12),
    st.floats(0.5, 1.0),
    st.randoms(use_true_random=False),
)
def test_potential_shaping_leaves_regret_as_it_is(potentials, discount, order):
    length = len(potentials)
    phi = torch.tensor(potentials, dtype=torch.float64)
    rewards = torch.tensor([order.uniform(-1, 1) for _ in range(length)], dtype=torch.float64)
    values = torch.tensor([order.uniform(-9, 9) for _ in range(length)], dtype=torch.float64)
    mask = torch.ones(length, dtype=torch.bool)
    for name, gamma in (("regret", 1.0), ("discounted-regret", discount)):
        following = torch.cat([phi[1:], phi[-1:]])
        shaped = score(name, rewards + gamma * following - phi, values - phi, mask, discount)
        assert shaped == pytest.approx(score(name, rewards, values, mask, discount), abs=1e-9)


def test_what_lies_behind_a_segment_does_not_count():
    longer = torch.cat([REWARDS, torch.tensor([7.0, 8.0])])
    values = torch.cat([VALUES, torch.tensor([70.0, -80.0])])
    mask = torch.tensor([True] * 4 + [False] * 2)
    for name in ("return", "discounted-return", "regret", "discounted-regret"):
        assert score(name, longer, values, mask) == pytest.approx(score(name))


def test_a_batch_is_scored_at_once():
    rewards = torch.stack([REWARDS, 2 * REWARDS])
    values = torch.stack([VALUES, 2 * VALUES])
    found = step_contributions("regret", rewards, values, MASK.expand(2, -1), 0.99).sum(-1)
    assert found.tolist() == [0.5, 1.0]


def test_regret_needs_values_and_scores_are_known():
    assert [needs_value(name) for name in ("return", "regret", "discounted-regret")] == [
        False, True, True,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="needs a value function"):
        score("regret", values=None)
