import numpy as np
import pytest
import torch

from pbrl import envs
from pbrl.envs.four_goals import BEST_RETURN, ENV_ID, STEPS, STILL_RETURN, moved, reward


def test_a_step_by_hand():
    place = moved(np.zeros((1, 2), np.float32), np.array([[3.0, -0.5]], np.float32))
    np.testing.assert_allclose(place, [[0.1, -0.05]], rtol=1e-6)
    assert reward(place)[0] == pytest.approx(-np.hypot(0.9, 0.05))
    assert reward(np.array([1.0, 0.0], np.float32)) == 0


def returns(act, number=400):
    env = envs.make(ENV_ID, number, seed=1, device="cpu")
    observations, _ = env.reset()
    total = torch.zeros(number)
    for step in range(STEPS):
        observations, rewards, terminated, truncated, _ = env.step(act(observations))
        total += rewards
        assert not terminated.any()
        assert truncated.all() == (step == STEPS - 1)
    env.close()
    return float(total.mean())


def test_the_returns_that_count_as_0_and_100():
    assert returns(torch.zeros_like) == pytest.approx(STILL_RETURN, abs=0.5)
    goal = torch.tensor([1.0, 0.0])
    assert returns(lambda seen: (2 * (goal - seen)).clamp(-1, 1)) == pytest.approx(
        BEST_RETURN, abs=0.3
    )
