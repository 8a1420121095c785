import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.queries.kcenter import greedy_k_center, nearest_distance

POINTS = torch.tensor([[0.0, 0], [1, 0], [4, 0], [4, 1], [0, 3], [2, 2]])
LABELLED = torch.zeros(1, 2)


def brute_force(points, centres, number):
    """Recompute every distance for every pick."""
    picks = []
    for _ in range(number):
        chosen = torch.cat([centres, points[picks]])
        distance = (points[:, None] - chosen).norm(dim=-1).amin(1)
        distance[picks] = -1
        picks.append(int(distance.argmax()))
    return picks


def test_picks_by_hand():
    nearest = nearest_distance(POINTS, LABELLED)
    torch.testing.assert_close(nearest, torch.tensor([0, 1, 4, 4.123106, 3, 2.828427]))
    assert greedy_k_center(POINTS, nearest, 1).tolist() == [3]
    assert greedy_k_center(POINTS, nearest, 3).tolist() == [3, 4, 5]
    after_two = nearest_distance(POINTS, torch.cat([LABELLED, POINTS[[3, 4]]]))
    torch.testing.assert_close(after_two[[0, 1, 2, 5]], torch.tensor([0, 1, 1, 2.236068]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    num_points=st.integers(1, 40),
    num_centres=st.integers(1, 10),
    num_features=st.integers(1, 8),
)
def test_equals_brute_force(seed, num_points, num_centres, num_features):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(num_points, num_features, generator=generator, dtype=torch.float64)
    centres = torch.randn(num_centres, num_features, generator=generator, dtype=torch.float64)
    number = (num_points + 1) // 2
    picks = greedy_k_center(points, nearest_distance(points, centres), number)
    assert picks.tolist() == brute_force(points, centres, number)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=25),
    st.tuples(st.integers(-2, 2), st.integers(-2, 2)),
)
def test_ties_and_duplicates_take_the_first(points, centre):
    points = torch.tensor(points, dtype=torch.float64)
    centres = torch.tensor([centre], dtype=torch.float64)
    picks = greedy_k_center(points, nearest_distance(points, centres), len(points)).tolist()
    assert picks == brute_force(points, centres, len(points))
    assert sorted(picks) == list(range(len(points)))


def test_first_pick_without_centres_is_the_first_point():
    nearest = nearest_distance(POINTS, torch.zeros(0, 2))
    assert nearest.isinf().all()
    assert greedy_k_center(POINTS, nearest, 2).tolist() == [0, 3]


def test_nearest_distance_does_not_cancel_far_from_the_origin():
    generator = torch.Generator().manual_seed(0)
    centres = 1000 + torch.randn(50, 30, generator=generator)
    points = torch.cat([centres[:5], 1000 + torch.randn(100, 30, generator=generator)])
    exact = (points[:, None].double() - centres.double()).norm(dim=-1).amin(1)
    torch.testing.assert_close(nearest_distance(points, centres), exact.float())
    assert torch.equal(nearest_distance(points, centres)[:5], torch.zeros(5))


def test_too_many_picks_are_refused():
    with pytest.raises(ValueError, match="cannot pick 7 of 6"):
        greedy_k_center(POINTS, nearest_distance(POINTS, LABELLED), 7)
