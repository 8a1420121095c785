import pytest
import torch

from pbrl.replay import ReplayBuffer
from pbrl.training import reward_recovery
from pbrl.training.reward_recovery import RewardRecovery, correlation, recovery

STEPS = 20


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def episodes(number: int) -> ReplayBuffer:
    """Random states, paid by their first number."""
    observations = torch.randn(number * STEPS, 2, generator=generator())
    return ReplayBuffer.from_episodes(
        observations=observations,
        actions=torch.zeros(number * STEPS, 1),
        true_rewards=observations[:, 0],
        last_observations=torch.zeros(number, 2),
        lengths=torch.full((number,), STEPS),
        terminated=torch.zeros(number, dtype=torch.bool),
    )


class Source:
    """A learned reward of this many parts of the first number and of the second."""

    def __init__(self, first: float, second: float, *, is_ready: bool = True) -> None:
        self.weights = torch.tensor([first, second])
        self.is_ready = is_ready

    def rewards(self, observations, actions):
        del actions
        return observations @ self.weights


def test_correlation_by_hand():
    # Deviations (-1, 0, 1) and (-1, -1, 2): 3 / sqrt(2 * 6).
    one, other = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.0, 0.0, 3.0])
    assert correlation(one, other) == pytest.approx(0.8660254)
    assert correlation(one, -4 * one + 7) == pytest.approx(-1.0)
    assert correlation(one, torch.full((3,), 0.1)) is None
    assert correlation(one[:0], other[:0]) is None


def test_recovery_of_steps_and_of_segments_by_hand():
    # The steps of each segment are exchanged: sums 3 and 7 agree, steps do only in part.
    true, learned = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[2.0, 1.0], [4.0, 3.0]])
    found = recovery(learned, true)
    assert found["reward/segment_correlation"] == pytest.approx(1.0)
    assert found["reward/correlation"] == pytest.approx(0.6)  # 3 / 5
    assert recovery(torch.ones(2, 2), true) == {}


def test_a_reward_half_of_which_is_right():
    replay = episodes(30)
    right, half, wrong = (
        RewardRecovery(Source(*weights), replay, 5, seed=0)()
        for weights in ((2.0, 0.0), (1.0, 1.0), (-1.0, 0.0))
    )
    assert right["reward/correlation"] == pytest.approx(1.0)
    assert wrong["reward/segment_correlation"] == pytest.approx(-1.0)
    for value in half.values():
        assert value == pytest.approx(0.5**0.5, abs=0.12)


def test_only_the_last_episodes_count(monkeypatch):
    monkeypatch.setattr(reward_recovery, "RECENT_EPISODES", 1)
    replay = episodes(2)
    replay.all_true_rewards()[:STEPS] *= -1  # of the first episode
    found = RewardRecovery(Source(1.0, 0.0), replay, 5, seed=0)()
    assert found["reward/correlation"] == pytest.approx(1.0)


def test_nothing_is_said_where_there_is_nothing_to_compare():
    assert RewardRecovery(Source(1.0, 0.0, is_ready=False), episodes(2), 5, seed=0)() == {}
    assert RewardRecovery(Source(1.0, 0.0), episodes(2), STEPS + 1, seed=0)() == {}


def test_measuring_draws_the_same_segments_every_time():
    measure = RewardRecovery(Source(1.0, 1.0), episodes(30), 5, seed=3)
    assert measure() == measure()
