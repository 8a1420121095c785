import math
from itertools import permutations

import pytest
import torch

from pbrl.offline.transfer.labels import carried_labels
from pbrl.offline.transfer.transport import (
    TransportConfig,
    couple,
    normalized_distances,
    product_plan,
    transport_cost,
)

ot = pytest.importorskip("ot", reason="POT is an extra")
X = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
Y = torch.tensor([13.0, 10.0, 11.0], dtype=torch.float64)
LARGER = (X[:, None] < X).double() + 0.5 * torch.eye(3, dtype=torch.float64)


def gaps(places):
    return (places[:, None] - places).abs()


def labels_of(config):
    plan = couple(gaps(X) / 3, gaps(Y) / 3, config).plan
    return carried_labels(plan, LARGER).labels


def test_costs_of_all_assignments_by_hand():
    expected = {
        (0, 1, 2): 1.3333, (0, 2, 1): 0.4444, (1, 0, 2): 1.7778,
        (1, 2, 0): 0.0, (2, 0, 1): 1.3333, (2, 1, 0): 0.4444,
    }  # fmt: skip
    for order in permutations(range(3)):
        plan = torch.zeros(3, 3, dtype=torch.float64)
        plan[torch.arange(3), torch.tensor(order)] = 1 / 3
        cost = transport_cost(gaps(X), gaps(Y), plan).item()
        assert cost == pytest.approx(expected[order], abs=1e-4)
        by_loops = sum(
            (gaps(X)[i, k] - gaps(Y)[order[i], order[k]]).item() ** 2 / 9
            for i in range(3)
            for k in range(3)
        )
        assert cost == pytest.approx(by_loops)
    assert transport_cost(gaps(X), gaps(Y), product_plan(3, 3)).item() == pytest.approx(
        2.6667, abs=1e-4
    )
    same = torch.eye(3, dtype=torch.float64) / 3
    assert transport_cost(gaps(X), 2 * gaps(X), same).item() == pytest.approx(3.1111, abs=1e-4)


@pytest.mark.parametrize(("epsilon", "label"), [(0.1, 0.8585), (0.05, 0.9875), (0.01, 1.0)])
def test_projected_gradients_by_hand(epsilon, label):
    labels = labels_of(TransportConfig(epsilon=epsilon, tolerance=1e-9))
    assert labels[1, 2].item() == pytest.approx(label, abs=1e-4)
    if epsilon < 0.1:
        assert labels[0, 1] < 0.05
        assert labels[0, 2] < 0.05


@pytest.mark.parametrize("epsilon", [1.0, 0.1, 0.01])
def test_proximal_points_are_exact_whatever_the_step(epsilon):
    labels = labels_of(TransportConfig(solver="PPA", epsilon=epsilon))
    expected = torch.tensor([[0.5, 0.0, 0.0], [1.0, 0.5, 1.0], [1.0, 0.0, 0.5]]).double()
    torch.testing.assert_close(labels, expected, atol=1e-3, rtol=0)


def test_much_entropy_tells_nothing():
    labels = labels_of(TransportConfig(epsilon=1.0))
    found = [labels[0, 1].item(), labels[0, 2].item(), labels[1, 2].item()]
    assert found == pytest.approx([0.485, 0.481, 0.496], abs=1e-3)


def test_epsilon_is_in_the_unit_of_the_distances():
    plan = couple(gaps(X), gaps(Y), TransportConfig(epsilon=1.0)).plan
    assert carried_labels(plan, LARGER).labels[1, 2].item() == pytest.approx(0.821, abs=1e-3)


def test_what_is_symmetric_stays_a_tie():
    even = gaps(torch.tensor([0.0, 1.0, 2.0]).double()) / 2
    plan = couple(even, even, TransportConfig()).plan
    labels = carried_labels(plan, LARGER).labels
    torch.testing.assert_close(labels, torch.full((3, 3), 0.5).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("solver", ["PGD", "PPA"])
def test_equal_to_pot_and_warm_starts_change_little(solver):
    draws = torch.Generator().manual_seed(0)
    one, two = (normalized_distances(torch.randn(number, 3, generator=draws)) for number in (7, 9))
    anchor = torch.rand(7, 9, generator=draws, dtype=torch.float64)
    config = TransportConfig(solver=solver, epsilon=0.1, tolerance=1e-9)
    found = couple(one, two, config)
    plan, log = ot.gromov.entropic_gromov_wasserstein(
        one.numpy(), two.numpy(), epsilon=0.1, max_iter=500, solver=solver, log=True
    )
    torch.testing.assert_close(found.plan, torch.from_numpy(plan))
    assert found.cost == pytest.approx(float(log["gw_dist"]))
    fused = couple(one, two, config, anchor=anchor)
    _, log = ot.gromov.entropic_fused_gromov_wasserstein(
        anchor.numpy(), one.numpy(), two.numpy(), epsilon=0.1, max_iter=500, solver=solver, log=True
    )
    assert fused.cost == pytest.approx(float(log["fgw_dist"]))
    if solver == "PGD":
        warm = couple(one, two, TransportConfig(epsilon=0.1, tolerance=1e-9, warm_start=True))
        torch.testing.assert_close(warm.plan, found.plan, atol=1e-6, rtol=0)


def test_iterations_that_run_into_zeros_are_refused():
    with pytest.raises(ValueError, match="came to no plan: .* raise epsilon"):
        couple(30 * gaps(X), 30 * gaps(Y), TransportConfig(epsilon=0.005))


def test_too_few_iterations_are_told():
    config = TransportConfig(max_iterations=1)
    assert not couple(gaps(X) / 3, gaps(Y) / 3, config).is_converged
    assert couple(gaps(X) / 3, gaps(Y) / 3, TransportConfig()).is_converged


def test_distances_are_normalised_and_blind_to_scale():
    features = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    expected = torch.tensor([[0, 0.5, 1], [0.5, 0, 0.5], [1, 0.5, 0]]).double()
    torch.testing.assert_close(normalized_distances(features), expected)
    torch.testing.assert_close(normalized_distances(100 * features), expected)
    angles = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    cosine = torch.tensor([[0, 0.5, 1], [0.5, 0, 0.5], [1, 0.5, 0]]).double()
    torch.testing.assert_close(normalized_distances(angles, "cosine"), cosine)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.ones(1, 2), "at least two segments of the task, got 1"),
        (torch.ones(4, 2) / 3, "all 4 segments of the task are equal"),
        (torch.tensor([[1.0], [math.nan]]), "must be finite"),
    ],
)
def test_segments_without_distances_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        normalized_distances(features)


def test_zeros_have_no_cosine():
    with pytest.raises(ValueError, match="all zeros"):
        normalized_distances(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), "cosine")


@pytest.mark.parametrize(
    "change",
    [{"epsilon": 0.0}, {"max_iterations": 0}, {"tolerance": 0.0}, {"anchor_weight": 1.0}],
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        TransportConfig(**change)
