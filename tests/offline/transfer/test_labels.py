import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.offline.transfer.labels import carried_labels, label_matrix

Z = torch.tensor([[0.5, 0.0, 0.0], [1.0, 0.5, 1.0], [1.0, 0.0, 0.5]], dtype=torch.float64)


def test_an_identity_copies_the_labels():
    plan = torch.eye(3, dtype=torch.float64) / 3
    torch.testing.assert_close(carried_labels(plan, Z).labels, Z)
    assert (plan.T @ Z @ plan)[1, 2] == pytest.approx(1 / 9)  # what lacks without the division


def test_two_targets_that_share_two_sources_by_hand():
    plan = torch.tensor([[1 / 6, 1 / 6, 0], [1 / 6, 1 / 6, 0], [0, 0, 1 / 3]], dtype=torch.float64)
    labels = torch.tensor([[0.5, 1.0, 0.0], [0.0, 0.5, 0.0], [1.0, 1.0, 0.5]], dtype=torch.float64)
    expected = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [1.0, 1.0, 0.5]])
    torch.testing.assert_close(carried_labels(plan, labels).labels, expected.double())


def test_a_plan_that_tells_nothing_gives_ties():
    plan = torch.full((3, 4), 1 / 12, dtype=torch.float64)
    torch.testing.assert_close(
        carried_labels(plan, Z).labels, torch.full((4, 4), 0.5, dtype=torch.float64)
    )


def test_pairs_without_a_label_are_left_out():
    pairs, labels = torch.tensor([[0, 1], [0, 1]]), torch.tensor([1.0, 0.5])
    matrix, known = label_matrix(3, pairs, labels)
    assert matrix[0, 1] == 0.75
    assert matrix[1, 0] == 0.25
    assert known.sum() == 5
    carried = carried_labels(torch.eye(3, dtype=torch.float64) / 3, matrix, known)
    torch.testing.assert_close(carried.labels, matrix)
    torch.testing.assert_close(carried.support, known.double())


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(2, 6))
@settings(max_examples=30)
def test_properties(seed, num_source, num_target):
    draws = torch.Generator().manual_seed(seed)
    plan = torch.rand(num_source, num_target, generator=draws, dtype=torch.float64) + 1e-3
    upper = torch.rand(num_source, num_source, generator=draws, dtype=torch.float64).triu(1)
    labels = upper + (1 - upper.T).tril(-1) + 0.5 * torch.eye(num_source, dtype=torch.float64)
    carried, support = carried_labels(plan, labels)
    torch.testing.assert_close(carried + carried.T, torch.ones_like(carried))
    torch.testing.assert_close(support, torch.ones_like(support))
    assert ((carried >= 0) & (carried <= 1)).all()
    torch.testing.assert_close(carried_labels(7 * plan, labels).labels, carried)
    order = torch.randperm(num_target, generator=draws)
    permuted = carried_labels(plan[:, order], labels).labels
    torch.testing.assert_close(permuted, carried[order][:, order])
    copied = carried_labels(torch.eye(num_source, dtype=torch.float64), labels).labels
    torch.testing.assert_close(copied, labels)
