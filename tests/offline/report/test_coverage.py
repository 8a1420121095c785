import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.offline.report.coverage import count_duplicates, cover, hash_rows
from pbrl.offline.steps import dataset_steps
from pbrl.replay import ReplayBuffer


def make_steps(observations, actions, lengths):
    return dataset_steps(
        ReplayBuffer.from_episodes(
            observations=observations,
            actions=actions,
            true_rewards=torch.zeros(len(actions)),
            last_observations=torch.zeros(len(lengths), observations.shape[1]),
            lengths=torch.tensor(lengths),
            terminated=torch.zeros(len(lengths), dtype=torch.bool),
        )
    )


def test_directions_that_vary_are_counted():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 4_000, generator=generator)
    observations = torch.stack([first, second, first, torch.full_like(first, 7.0)], 1)
    found = cover(make_steps(observations, torch.zeros(4_000, 1), [4_000]))
    assert found.constant_dims == (3,)
    assert found.effective_dim == pytest.approx(9 / 5, rel=0.01)  # eigenvalues 2, 1, 0
    assert found.largest_observation == 7.0
    constant = cover(make_steps(torch.ones(3, 2), torch.zeros(3, 1), [3]))
    assert (constant.constant_dims, constant.effective_dim) == ((0, 1), 0.0)


def test_actions_are_counted_by_place():
    actions = torch.tensor([[-1.0, 0.05], [1.0, 0.05], [1.0, 0.05], [-1.0, 0.05]])
    found = cover(make_steps(torch.zeros(4, 1), actions, [4]))
    assert found.at_bounds == 0.5
    assert found.action_means == pytest.approx((0.0, 0.05))
    assert found.action_stds == pytest.approx((1.0, 0.0))
    assert found.visited_bins == pytest.approx((2 + 1) / 20)


def test_what_is_there_twice():
    # Episode 1 repeats episode 0; episode 2 has its steps in another order; episode 3 is longer.
    observations = torch.tensor([1.0, 2, 1, 2, 2, 1, 1, 2, 3])[:, None]
    steps = make_steps(observations, torch.zeros(9, 1), [2, 2, 2, 3])
    found = count_duplicates(steps)
    assert found.episodes == 1
    assert found.steps == found.observations == pytest.approx(6 / 9)
    other_actions = make_steps(observations, torch.arange(9.0)[:, None] / 9, [2, 2, 2, 3])
    found = count_duplicates(other_actions)
    assert (found.episodes, found.steps, found.observations) == (0, 0.0, pytest.approx(6 / 9))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 40))
def test_equal_rows_and_no_others_share_a_hash(seed, columns, rows):
    rng = np.random.default_rng(seed)
    values = rng.integers(-1, 2, (rows, columns)).astype(np.float32)
    assert len(np.unique(hash_rows(values))) == len(np.unique(values, axis=0))
