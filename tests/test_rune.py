import pytest
import torch

from pbrl.rune import bonus_weight, with_bonus


def test_weights_of_the_sheet():
    assert bonus_weight(0.05, 1e-5, 0) == 0.05
    assert bonus_weight(0.05, 1e-5, 100_000) == pytest.approx(0.0183939, abs=1e-7)
    assert bonus_weight(0.05, 1e-5, 1_000_000) == pytest.approx(2.27e-6, abs=1e-8)


def test_bonus_by_hand():
    # Members 0.1, 0.4, 0.7.
    rewards = torch.tensor([0.1, 0.4, 0.7])
    reward = with_bonus(rewards.mean(0), rewards.std(0, correction=0), 0.05)
    torch.testing.assert_close(reward, torch.tensor(0.4 + 0.05 * 0.244949))
    assert with_bonus(rewards, torch.ones(3), 0.0).equal(rewards)
