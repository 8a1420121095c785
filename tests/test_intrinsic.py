import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl import intrinsic
from pbrl.intrinsic import IntrinsicConfig, IntrinsicReward, knn_distances

LINE = torch.tensor([[0.0], [1.0], [3.0], [7.0]])


def by_sorting(states, pool, neighbour):
    return torch.cdist(states.double(), pool.double()).sort(1).values[:, neighbour].float()


def test_worked_example():
    one, two = (knn_distances(LINE, LINE, k) for k in (1, 2))
    torch.testing.assert_close(one, torch.tensor([1.0, 1.0, 2.0, 4.0]))
    torch.testing.assert_close(two, torch.tensor([3.0, 2.0, 3.0, 6.0]))
    assert one.std().item() == pytest.approx(1.41421, abs=1e-5)
    assert two.std().item() == pytest.approx(1.73205, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    size=st.integers(7, 1500),
    neighbour=st.integers(1, 6),
    dim=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_equals_sorting_every_distance(size, neighbour, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randn(size, dim, generator=generator)
    states = pool[torch.randint(size, (20,), generator=generator)]
    expected = by_sorting(states, pool, neighbour)
    torch.testing.assert_close(knn_distances(states, pool, neighbour), expected)


def test_more_queries_than_one_part_and_neighbours_in_one_block():
    pool = torch.arange(2000.0)[:, None]  # the nearest ones share a block
    actual = knn_distances(pool[:600], pool, 5)
    torch.testing.assert_close(actual, by_sorting(pool[:600], pool, 5))


def test_close_states_far_from_the_origin_keep_their_digits():
    generator = torch.Generator().manual_seed(0)
    pool = 100 + torch.randn(3000, 8, generator=generator)
    pool[1::2] = pool[::2] + 1e-3 * torch.randn(1500, 8, generator=generator)
    expected = by_sorting(pool[:100], pool, 1)
    torch.testing.assert_close(knn_distances(pool[:100], pool, 1), expected)


def test_a_pool_cut_in_parts_gives_the_same(monkeypatch):
    pool = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    whole = knn_distances(pool[:50], pool, 5)
    monkeypatch.setattr(intrinsic, "STATES_AT_ONCE", {"cpu": 64})
    monkeypatch.setattr(intrinsic, "QUERIES_AT_ONCE", 7)
    torch.testing.assert_close(knn_distances(pool[:50], pool, 5), whole)


def test_reward_is_the_distance_over_its_running_scale():
    reward = IntrinsicReward(IntrinsicConfig(neighbour=1))
    torch.testing.assert_close(reward(LINE, LINE), torch.tensor([1.0, 1.0, 2.0, 4.0]) / 2**0.5)
    # A second batch of the same distances: mean 2, squares 2 x 6 over 7.
    expected = torch.tensor([1.0, 1.0, 2.0, 4.0]) / (12 / 7) ** 0.5
    torch.testing.assert_close(reward(LINE, LINE), expected)
    raw = IntrinsicReward(IntrinsicConfig(neighbour=1, normalize=False))
    torch.testing.assert_close(raw(LINE, LINE), torch.tensor([1.0, 1.0, 2.0, 4.0]))


def test_the_running_scale_is_saved():
    reward, other = (IntrinsicReward(IntrinsicConfig(neighbour=2)) for _ in range(2))
    reward(LINE, LINE)
    other.load_state_dict(reward.state_dict())
    assert torch.equal(other(LINE, LINE), reward(LINE, LINE))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="needs a pool of at least 5 states, got 4"):
        knn_distances(LINE, LINE, 4)
    with pytest.raises(ValueError, match="neighbour must be at least 1"):
        IntrinsicConfig(neighbour=0)
