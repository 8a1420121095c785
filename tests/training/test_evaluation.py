import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pbrl.training import evaluation
from pbrl.training.evaluation import evaluate, random_policy


class Ladder(gymnasium.Env):
    """Episodes of the given lengths in turn; every step pays 1; success at the second step."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, lengths, reports_success=False):
        self.lengths = lengths
        self.reports_success = reports_success
        self.episode = -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode = 0 if seed is not None else self.episode + 1
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert np.shape(action) == (2,)
        self.steps += 1
        info = {"success": self.steps == 2} if self.reports_success else {}
        is_over = self.steps == self.lengths[self.episode % len(self.lengths)]
        return np.zeros(1, np.float32), 1.0, is_over, False, info


class SuccessOfTheStep(gymnasium.vector.VectorWrapper):
    """Success of the step just taken, as the environments of this package report it."""

    def step(self, actions):
        *rest, infos = self.env.step(actions)
        success = np.array(infos.get("success", np.zeros(self.num_envs, bool)))
        if "final_info" in infos:
            success |= infos["final_info"].get("success", success)
        return *rest, {"success": success}


def ladders(*lengths, reports_success=False):
    make = [lambda each=each: Ladder(each, reports_success) for each in lengths]
    env = SyncVectorEnv(make, autoreset_mode=AutoresetMode.SAME_STEP)
    return SuccessOfTheStep(env) if reports_success else env


def still(observations):
    return torch.zeros(len(observations), 2)


def test_every_environment_plays_its_share_so_that_short_episodes_are_not_favoured():
    outcome = evaluate(still, ladders([1], [10]), num_episodes=4, seed=0)
    assert sorted(outcome.lengths) == [1, 1, 10, 10]
    assert outcome.score_name == "return"
    assert outcome.score == 5.5
    assert outcome.successes is None


@pytest.mark.parametrize(("num_episodes", "lengths"), [(1, [4]), (2, [4, 5]), (5, [4, 4, 5, 5, 6])])
def test_exactly_as_many_episodes_as_asked(num_episodes, lengths):
    outcome = evaluate(still, ladders([4], [5], [6]), num_episodes=num_episodes, seed=0)
    assert sorted(outcome.lengths) == lengths
    np.testing.assert_array_equal(outcome.returns, outcome.lengths)


def test_success_at_any_step_counts_also_at_the_last_and_not_into_the_next_episode():
    env = ladders([2, 1], [1, 3], reports_success=True)
    outcome = evaluate(still, env, num_episodes=4, seed=0)
    assert outcome.score_name == "success"
    np.testing.assert_array_equal(outcome.successes, outcome.lengths > 1)
    assert outcome.score == 0.5


def test_tensors_in_tensors_out():
    class Tensors(gymnasium.vector.VectorWrapper):
        def reset(self, **options):
            observations, infos = self.env.reset(**options)
            return torch.from_numpy(observations), infos

        def step(self, actions):
            assert isinstance(actions, torch.Tensor)
            *arrays, infos = self.env.step(actions.numpy())
            return *(torch.from_numpy(array) for array in arrays), infos

    outcome = evaluate(still, Tensors(ladders([3], [4])), num_episodes=2, seed=0)
    assert list(outcome.lengths) == [3, 4]


def test_the_random_policy_fills_the_unit_box_and_repeats_with_its_generator():
    draws = [
        random_policy(2, torch.Generator().manual_seed(0))(torch.zeros(1_000, 1)) for _ in range(2)
    ]
    assert torch.equal(*draws)
    assert draws[0].shape == (1_000, 2)
    assert draws[0].min() < -0.98
    assert draws[0].max() > 0.98
    assert draws[0].abs().max() <= 1.0


def test_bad_input_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="num_episodes"):
        evaluate(still, ladders([1]), num_episodes=0, seed=0)
    with pytest.raises(ValueError, match="SAME_STEP"):
        evaluate(still, SyncVectorEnv([lambda: Ladder([1])]), num_episodes=1, seed=0)
    monkeypatch.setattr(evaluation, "MAX_EPISODE_STEPS", 10)
    with pytest.raises(ValueError, match="time limit"):
        evaluate(still, ladders([50]), num_episodes=1, seed=0)


def test_rewards_that_are_no_numbers_are_refused():
    env = ladders([2])
    env.envs[0].step = lambda action: (np.zeros(1, np.float32), float("nan"), True, False, {})
    with pytest.raises(ValueError, match="not finite"):
        evaluate(still, env, num_episodes=1, seed=0)


class Remembering:
    """Notes after how many steps each environment's episode began anew."""

    def __init__(self, num_envs):
        self.steps = np.full(num_envs, -1)
        self.lengths = []

    def begin(self, is_first):
        for env in np.flatnonzero(is_first.numpy()):
            if self.steps[env] >= 0:
                self.lengths.append(int(self.steps[env]))
            self.steps[env] = 0

    def __call__(self, observations):
        self.steps += 1
        return torch.zeros(len(observations), 2)


def test_a_policy_that_remembers_is_told_where_episodes_begin():
    policy = Remembering(2)
    evaluate(policy, ladders([2, 1], [5]), num_episodes=4, seed=0)
    # 2, 1, 2, 1, ... beside 5, until the second environment has played two episodes.
    assert policy.lengths == [2, 1, 2, 5, 1, 2, 1, 5]
