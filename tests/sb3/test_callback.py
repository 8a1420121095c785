from dataclasses import replace

import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, PPO, SAC, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import KVWriter, Logger

from pbrl.feedback import Answers
from pbrl.queries import CallableTeacher
from pbrl.queries.patience import PatienceConfig
from pbrl.replay_rules import ReplayRuleConfig
from pbrl.rewards import RewardConfig
from pbrl.sb3 import FeedbackCallback, PreferenceVecEnv, RelabellingReplayBuffer
from tests.sb3.point import EPISODE_LENGTH, points, preferences, small_model

OFF_POLICY = {"replay_buffer_class": RelabellingReplayBuffer}


class Watch(BaseCallback):
    """Notes labels asked and rewards served at every step."""

    def __init__(self, source):
        super().__init__()
        self.source = source
        self.asked, self.rewards = [], []

    def _on_step(self):
        self.asked.append(self.source.num_asked)
        self.rewards.append(float(self.locals["rewards"][0]))
        return True


def learn(model, callback, steps):
    watch = Watch(callback.source)
    model.learn(steps, callback=[callback, watch])
    return watch


def test_sessions_follow_the_schedule():
    env = PreferenceVecEnv(points())
    callback = FeedbackCallback(env, preferences(first_step=30, interval=20, budget=10))
    watch = learn(small_model(SAC, env, learning_starts=90, **OFF_POLICY), callback, 100)
    # Sessions of 4 after 30 and 50 steps, the last 2 after 70.
    assert watch.asked == [0] * 30 + [4] * 20 + [8] * 20 + [10] * 30
    assert callback.source.feedback.state_dict()["asked_at"].unique().tolist() == [30, 50, 70]


class Later:
    """Answers what was safe to ask, at the third look after that."""

    def __init__(self):
        self.kept, self.asked, self.num_looks = [], [], 0

    def __call__(self, queries, generator):
        self.kept += [queries] if len(queries) else []
        self.num_looks += 1
        ready = self.asked if self.num_looks > 2 else []
        self.asked = self.asked if self.num_looks <= 2 else []
        ids = torch.cat([queries.ids[:0], *(one.ids for one in ready)])
        return Answers.of(ids, torch.full(ids.shape, 0.5), "later")

    def saved(self):
        self.asked, self.kept, self.num_looks = self.asked + self.kept, [], 0

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_a_teacher_who_answers_later_is_waited_for():
    env, teacher = PreferenceVecEnv(points()), Later()
    patience = PatienceConfig(max_steps=5, poll_every=1_000, poll_seconds=0.001)
    config = replace(preferences(first_step=30, interval=20, budget=8), patience=patience)
    callback = FeedbackCallback(env, config, teacher=teacher)
    watch = learn(small_model(SAC, env, learning_starts=90, **OFF_POLICY), callback, 60)
    assert watch.asked == [0] * 30 + [4] * 20 + [8] * 10
    assert callback.source.num_labelled == 8
    assert teacher.kept == []


def test_an_on_policy_rollout_has_one_reward():
    env = PreferenceVecEnv(points(2))
    callback = FeedbackCallback(env, preferences(first_step=20, interval=20, budget=100))
    watch = learn(small_model(PPO, env), callback, 192)
    # A rollout is 64 steps; three sessions fall into each.
    assert watch.asked == [0] * 32 + [12] * 32 + [24] * 32
    assert watch.rewards[:32] == [0.0] * 32
    assert len(set(watch.rewards[32:])) > 32


def test_labels_accuracy_and_true_return_are_logged():
    class Memory(KVWriter):
        rows: list = []

        def write(self, values, excluded, step=0):
            self.rows.append(dict(values))

        def close(self):
            pass

    env = PreferenceVecEnv(points())
    model = small_model(SAC, env, learning_starts=90, **OFF_POLICY)
    model.set_logger(Logger(None, [Memory()]))
    model.learn(100, callback=FeedbackCallback(env, preferences()), log_interval=1)
    row = Memory.rows[-1]
    assert row["labels/asked"] == row["labels/given"] == 8
    assert 0 <= row["reward/accuracy"] <= 1
    assert -1.5 * EPISODE_LENGTH < row["rollout/true_return"] < 0
    assert row["rollout/ep_rew_mean"] == pytest.approx(
        np.mean([episode["r"] for episode in model.ep_info_buffer])
    )
    assert "labels/asked" in Memory.rows[0]
    assert Memory.rows[0]["labels/asked"] == 0


def test_a_teacher_of_ones_own_answers():
    asked = []

    def prefer_second(segments):
        asked.append(segments.observations.shape)
        return torch.ones(len(segments.mask))

    env = PreferenceVecEnv(points())
    callback = FeedbackCallback(env, preferences(), teacher=CallableTeacher(prefer_second))
    learn(small_model(SAC, env, learning_starts=90, **OFF_POLICY), callback, 100)
    assert asked == [(4, 2, 5, 2)] * 2
    assert callback.source.feedback.labelled().labels.tolist() == [1.0] * 8


@pytest.mark.parametrize("kind", [SAC, TD3])
def test_exploration_is_rewarded_for_being_far_and_its_critic_thrown_away(kind):
    env = PreferenceVecEnv(points())
    callback = FeedbackCallback(env, preferences(), explores=True)
    model = small_model(kind, env, learning_starts=20, **OFF_POLICY)
    watch = learn(model, callback, 40)
    batch = model.replay_buffer.sample(64)
    assert (batch.rewards > 0).all()  # distances
    assert watch.rewards == [0.0] * 40  # nobody pays for them when they are drawn anyway
    before = [parameter.clone() for parameter in model.critic.parameters()]
    model.gradient_steps = 0  # leave it at the warm-up
    model.learn(2, callback=callback, reset_num_timesteps=False)
    after = list(model.critic.parameters())
    assert callback.source.num_asked == 4
    # Fresh weights lie within 1 / sqrt(inputs); Adam's first 20 steps move each by 0.06 at most.
    bound = 1 / np.sqrt(after[0].shape[1]) + 20 * 3e-3
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert float(after[0].detach().abs().max()) < bound
    steps = {int(state["step"]) for state in model.critic.optimizer.state.values()}
    assert steps == {20}


def test_on_policy_exploration_is_paid_at_once():
    env = PreferenceVecEnv(points(2))
    callback = FeedbackCallback(env, preferences(first_step=65), explores=True)
    watch = learn(small_model(PPO, env), callback, 128)
    assert watch.rewards[0] == 0  # nothing to be far from yet
    assert all(reward > 0 for reward in watch.rewards[3:])


def test_recent_transitions_are_preferred_while_the_budget_lasts():
    env = PreferenceVecEnv(points())
    rule = ReplayRuleConfig(recent_share=1.0, recent_episodes=1)
    callback = FeedbackCallback(env, preferences(interval=60), replay_rule=rule)
    model = small_model(SAC, env, learning_starts=40, **OFF_POLICY)
    model.learn(90, callback=callback)
    assert len(model.replay_buffer.sample(200).observations.unique(dim=0)) == EPISODE_LENGTH
    model.learn(30, callback=callback, reset_num_timesteps=False)
    assert len(model.replay_buffer.sample(2000).observations.unique(dim=0)) > 100


def test_any_algorithm_of_discrete_actions_learns_too():
    env = PreferenceVecEnv(make_vec_env("CartPole-v1", 1, seed=0), capacity=500)
    callback = FeedbackCallback(env, preferences(first_step=60), explores=True)
    model = DQN("MlpPolicy", env, learning_starts=50, buffer_size=500, seed=0, **OFF_POLICY)
    model.learn(120, callback=callback)
    assert callback.source.num_labelled == 8
    batch = model.replay_buffer.sample(64)
    one_hot = torch.nn.functional.one_hot(batch.actions[:, 0], 2).float()
    torch.testing.assert_close(
        batch.rewards[:, 0], callback.source.rewards(batch.observations, one_hot)
    )


def parts(folder=None, **changes):
    env = PreferenceVecEnv(points())
    return env, FeedbackCallback(env, preferences(**changes), folder=folder)


def test_a_saved_run_goes_on(tmp_path):
    env, callback = parts(budget=16)
    model = small_model(SAC, env, learning_starts=40, **OFF_POLICY)
    model.learn(95, callback=callback)
    model.save(tmp_path / "model")
    callback.save(tmp_path / "feedback")

    other_env, other = parts(budget=16)
    other.load(tmp_path / "feedback")
    loaded = SAC.load(tmp_path / "model", env=other_env)
    assert other_env.replay.num_steps == 95
    assert other.source.num_labelled == callback.source.num_labelled == 8
    observations, actions = torch.rand(5, 2), torch.rand(5, 2)
    torch.testing.assert_close(
        other.source.rewards(observations, actions), callback.source.rewards(observations, actions)
    )
    loaded.learn(60, callback=other, reset_num_timesteps=False)
    assert other_env.replay.num_steps == 155
    assert other.source.num_asked == 12  # the session after 120 steps, none held twice
    batch = loaded.replay_buffer.sample(256)
    torch.testing.assert_close(
        batch.rewards[:, 0], other.source.rewards(batch.observations, batch.actions)
    )


class Away:
    """Answers everything, but nothing while away."""

    def __init__(self, *, is_here):
        self.is_here = is_here

    def __call__(self, queries, generator):
        ids = queries.ids if self.is_here else queries.ids[:0]
        return Answers.of(ids, torch.ones(ids.shape), "away")


def test_answers_that_come_with_load_end_the_exploration_too(tmp_path):
    env = PreferenceVecEnv(points())
    callback = FeedbackCallback(env, preferences(), teacher=Away(is_here=False), explores=True)
    learn(small_model(SAC, env, learning_starts=20, **OFF_POLICY), callback, 45)
    callback.save(tmp_path)

    env = PreferenceVecEnv(points())
    callback = FeedbackCallback(env, preferences(), teacher=Away(is_here=True), explores=True)
    callback.load(tmp_path)
    assert callback.source.num_labelled == 4
    model = small_model(SAC, env, gradient_steps=0, learning_starts=20, **OFF_POLICY)
    before = [parameter.clone() for parameter in model.critic.parameters()]
    model.learn(2, callback=callback)
    after = model.critic.parameters()
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_no_label_is_lost_when_the_run_dies_after_a_session(tmp_path):
    class Dies(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 85:
                raise KeyboardInterrupt
            return True

    env, callback = parts(tmp_path)
    model = small_model(SAC, env, learning_starts=90, **OFF_POLICY)
    with pytest.raises(KeyboardInterrupt):
        model.learn(100, callback=[callback, Dies()])
    _, other = parts(tmp_path)
    other.load(tmp_path)
    assert other.source.num_labelled == 8


def test_a_state_of_another_reward_model_is_refused(tmp_path):
    _, callback = parts()
    callback.save(tmp_path)
    env = PreferenceVecEnv(points())
    other = FeedbackCallback(env, preferences(), seed=1)
    other.load(tmp_path)  # another seed or schedule is no other model
    config = preferences()
    object.__setattr__(config, "reward", RewardConfig(hidden_sizes=(8,)))
    with pytest.raises(ValueError, match=r"reward.hidden_sizes"):
        FeedbackCallback(env, config).load(tmp_path)


def test_a_model_that_would_learn_from_the_wrong_rewards_is_refused():
    env, callback = parts()
    with pytest.raises(ValueError, match="replay_buffer_class=RelabellingReplayBuffer"):
        small_model(SAC, env).learn(10, callback=callback)
    with pytest.raises(ValueError, match="environment given to FeedbackCallback"):
        small_model(PPO, PreferenceVecEnv(points(2))).learn(10, callback=callback)
