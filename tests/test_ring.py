import pytest
import torch

from pbrl.ring import StepRing, check_field


def ring_with_rows(num_rows: int, num_envs: int, written: int) -> StepRing:
    """Observation, action and rewards of row r and environment e are 10 r + e."""
    device = torch.device("cpu")
    ring = StepRing(num_rows, num_envs, observation_dim=1, action_dim=1, device=device)
    for row in range(written):
        value = 10.0 * row + torch.arange(num_envs)
        ring.append(value[:, None], value[:, None], value, value, torch.arange(num_envs))
    return ring


def test_the_newest_row_replaces_the_oldest():
    ring = ring_with_rows(num_rows=3, num_envs=2, written=5)
    assert ring.rows_written == 5
    assert ring.oldest_row == 2
    assert ring.num_steps == 6
    assert ring.rewards.tolist() == [30.0, 31.0, 40.0, 41.0, 20.0, 21.0]


def test_places_and_rows_are_inverse():
    ring = ring_with_rows(num_rows=3, num_envs=2, written=5)
    rows = torch.tensor([2, 3, 4])
    places = ring.place(rows, torch.tensor([1, 1, 1]))
    assert places.tolist() == [5, 1, 3]
    assert ring.row(places).tolist() == rows.tolist()
    assert ring.following(places).tolist() == [1, 3, 5]


def test_windows_run_across_the_seam():
    ring = ring_with_rows(num_rows=3, num_envs=2, written=5)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    segments = ring.read_windows(torch.tensor([2, 4]), torch.tensor([1, 0]), mask)
    assert segments.true_rewards.tolist() == [[21.0, 31.0, 41.0], [40.0, 0.0, 0.0]]
    assert segments.observations[..., 0].tolist() == segments.true_rewards.tolist()
    assert segments.actions[..., 0].tolist() == segments.true_rewards.tolist()
    assert segments.mask.tolist() == mask.tolist()


def test_half_full_ring_keeps_only_what_was_written():
    state = ring_with_rows(num_rows=8, num_envs=2, written=3).state_dict()
    assert state["rewards"].tolist() == [0.0, 1.0, 10.0, 11.0, 20.0, 21.0]
    restored = ring_with_rows(num_rows=8, num_envs=2, written=0)
    restored.load_state_dict(state)
    assert restored.num_steps == 6
    assert restored.observations[:, 0].tolist()[:7] == [0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 0.0]


def test_fields_that_do_not_fit_are_refused():
    check_field("rewards", torch.zeros(3), (3,))
    with pytest.raises(ValueError, match=r"rewards must have shape \(3,\), got \(1,\)"):
        check_field("rewards", torch.zeros(1), (3,))
    with pytest.raises(ValueError, match="rewards must be finite"):
        check_field("rewards", torch.tensor([0.0, torch.nan, 0.0]), (3,))
