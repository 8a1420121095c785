from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from pbrl.queries import CallableTeacher
from pbrl.training.build import build_loop, make_env
from pbrl.training.evaluation import evaluate
from pbrl.training.together import Together


def finish(loop):
    while loop.step < loop.config.steps:
        loop.advance()
    return loop


def score(loop) -> float:
    env = make_env(loop.config, num_envs=5, key=(9,))
    act = lambda seen: loop.agent.act(seen, deterministic=True)  # noqa: E731
    return evaluate(act, env, num_episodes=10, seed=3).score


def critic_parameters(loop):
    state = loop.agent.state_dict()
    return torch.cat([p.flatten() for p in state["critic"].values()])


def with_preferences(config, **changes):
    return replace(config, preferences=replace(config.preferences, **changes))


@pytest.mark.many_updates
@pytest.mark.parametrize("seed", [0, 1])
def test_learning_shows_and_the_controls_fail(tiny_config, seed):
    # An episode of 20 steps pays at most 20; acting at random pays about 6.7, zero pays 10.
    config = replace(tiny_config, seed=seed)
    learned = score(finish(build_loop(config)))
    flipped = score(finish(build_loop(with_preferences(config, control="flipped-labels"))))
    shuffled = score(finish(build_loop(with_preferences(config, control="shuffled-labels"))))
    assert learned > 15
    assert flipped < 7
    assert shuffled < learned - 3


@pytest.mark.many_updates
def test_true_reward_learns_without_asking(tiny_config):
    loop = finish(build_loop(replace(tiny_config, agent="sac", preferences=None)))
    assert score(loop) > 15
    assert loop.source.num_asked == 0


@pytest.mark.many_updates
def test_same_seed_same_run(tiny_config):
    config = replace(tiny_config, steps=250)
    first, second = finish(build_loop(config)), finish(build_loop(config))
    assert torch.equal(critic_parameters(first), critic_parameters(second))
    other = finish(build_loop(replace(config, seed=5)))
    assert not torch.equal(critic_parameters(first), critic_parameters(other))


def test_the_switch_resets_the_critic_and_keeps_the_actor(tiny_config, monkeypatch):
    config = with_preferences(tiny_config, warm_up_updates=0)
    loop = build_loop(replace(config, updates_per_step=1e-9))
    while loop.step < 99:
        loop.advance()
    critic, actor = critic_parameters(loop), loop.agent.state_dict()["actor"]
    actor = {name: value.clone() for name, value in actor.items()}
    loop.advance()
    assert loop.num_sessions == 1
    assert not torch.equal(critic_parameters(loop), critic)
    for name, value in loop.agent.state_dict()["actor"].items():
        assert torch.equal(value, actor[name])


def test_updates_keep_the_ratio(tiny_config):
    loop = build_loop(replace(tiny_config, updates_per_step=0.5, steps=90, preferences=None))
    finish(loop)
    assert loop.num_updates == (90 - 50) // 2


def test_several_environments_step_together(tiny_config):
    environment = replace(tiny_config.environment, num_envs=4)
    loop = build_loop(replace(tiny_config, environment=environment, steps=402))
    finish(loop)
    assert loop.step == 404  # whole vector steps
    assert loop.replay.num_steps == 404
    assert loop.source.num_asked == 60


def waiting_config(tiny_config, steps=1_200, seed=0):
    """Sessions are due every 100 steps, and the first episodes of 40 environments end at 800."""
    schedule = replace(tiny_config.preferences.schedule, budget=190)
    learning = replace(tiny_config.preferences.learning, passes=3)
    config = with_preferences(tiny_config, schedule=schedule, learning=learning)
    environment = replace(config.environment, num_envs=40)
    return replace(config, environment=environment, steps=steps, updates_per_step=0.02, seed=seed)


def test_sessions_wait_for_the_first_episodes_and_are_held_as_one(tiny_config):
    loop = build_loop(waiting_config(tiny_config))
    asked = {}
    while loop.step < loop.config.steps:
        loop.advance()
        asked[loop.step] = (loop.num_sessions, loop.num_asked)
    assert asked[760] == (0, 0)
    assert asked[800] == (1, 160)  # of 100, 200, ..., 800
    assert asked[880] == (1, 160)
    assert asked[920] == (2, 180)  # of 900
    assert asked[1_000] == (3, 190)  # what is left of the budget
    assert asked[1_200] == (3, 190)


def test_a_session_that_waits_outlives_an_interruption(tiny_config):
    loop = build_loop(waiting_config(tiny_config))
    while loop.step < 120:
        loop.advance()
    resumed = build_loop(waiting_config(tiny_config), resumes=1)
    resumed.load_state_dict(loop.state_dict())  # episodes in progress end here, with 3 steps
    while resumed.num_sessions == 0:
        resumed.advance()
    assert (resumed.step, resumed.num_asked) == (920, 180)
    finish(resumed)
    assert resumed.num_asked == 190


def test_a_session_is_held_as_soon_as_an_interruption_ended_an_episode(tiny_config):
    loop = build_loop(waiting_config(tiny_config))
    while loop.step < 400:
        loop.advance()
    resumed = build_loop(waiting_config(tiny_config), resumes=1)
    resumed.load_state_dict(loop.state_dict())  # with 10 steps, and segments have 5
    resumed.advance()
    assert (resumed.step, resumed.num_asked) == (440, 80)
    assert resumed.source.is_ready


class EndsWhenSeedSays(gymnasium.Env):
    """Episodes whose length is drawn: seeds hold their first session at different steps."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(15, 60))
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.left -= 1
        return np.full(2, action[0], np.float32), float(action[0]), self.left == 0, False, {}


gymnasium.register("EndsWhenSeedSays-v0", entry_point=EndsWhenSeedSays, max_episode_steps=100)


def test_seeds_together_wait_each_for_its_own_episodes(tiny_config):
    made = replace(waiting_config(tiny_config, steps=600), env="gym/EndsWhenSeedSays-v0")
    configs = [
        replace(made, environment=replace(made.environment, num_envs=10), seed=seed)
        for seed in (0, 1, 2)
    ]
    alone = [finish(build_loop(config)) for config in configs]
    loops = [build_loop(config) for config in configs]
    together = Together(loops)
    first = {}
    while any(loop.step < 600 for loop in loops):
        together.advance(600)
        for loop in loops:
            if loop.num_asked:
                first.setdefault(loop.config.seed, loop.step)
    together.settle()
    assert len(set(first.values())) > 1
    for one, other in zip(loops, alone, strict=True):
        assert one.num_asked == other.num_asked == 100  # of 100, 200, ..., 500
        assert one.num_sessions == other.num_sessions
        assert one.num_updates == other.num_updates
        torch.testing.assert_close(
            critic_parameters(one), critic_parameters(other), rtol=1e-3, atol=1e-4
        )


def test_labels_never_exceed_the_budget(tiny_config):
    schedule = replace(tiny_config.preferences.schedule, budget=50)
    loop = finish(build_loop(with_preferences(tiny_config, schedule=schedule)))
    assert loop.source.num_labelled == loop.source.num_asked == 50


def test_after_a_session_stored_rewards_are_those_of_the_model(tiny_config):
    loop = build_loop(tiny_config)
    while loop.num_sessions < 2:
        loop.advance()
    batch = loop.replay.sample(64, torch.Generator().manual_seed(0))
    expected = loop.source.rewards(batch.observations, batch.actions)
    torch.testing.assert_close(batch.rewards, expected)


@pytest.mark.many_updates
def test_a_ring_that_wraps_keeps_every_label(tiny_config):
    loop = finish(build_loop(replace(tiny_config, replay_capacity=150)))
    labelled = loop.source.feedback.labelled()
    assert len(labelled) == 60
    assert loop.replay.gather(labelled.index).mask.all()


def test_answers_that_come_with_a_resume_end_the_exploration_too(tiny_config):
    def absent(segments):
        raise ValueError("nobody at home")

    def teacher(segments):
        returns = segments.true_returns()
        return (returns[:, 1] > returns[:, 0]).float()

    config = replace(with_preferences(tiny_config, warm_up_updates=0), updates_per_step=1e-9)
    loop = build_loop(config, teacher=CallableTeacher(absent))
    with pytest.raises(ValueError, match="nobody"):
        finish(loop)
    resumed = build_loop(config, teacher=CallableTeacher(teacher), resumes=1)
    resumed.load_state_dict(loop.state_dict())
    critic = critic_parameters(resumed)
    resumed.advance()
    assert resumed.source.is_ready
    assert resumed.num_sessions == 0
    fresh = critic_parameters(resumed)
    assert not torch.equal(fresh, critic)
    while resumed.num_sessions == 0:
        resumed.advance()
    assert torch.equal(critic_parameters(resumed), fresh)  # once is enough


@pytest.mark.many_updates
def test_a_teacher_of_ones_own(tiny_config):
    asked = []

    def teacher(segments):
        asked.append(len(segments))
        returns = segments.true_returns()
        return (returns[:, 1] > returns[:, 0]).float()

    loop = finish(build_loop(tiny_config, teacher=CallableTeacher(teacher)))
    assert asked == [20, 20, 20]
    assert loop.source.feedback.annotators == ("callable",)


@pytest.mark.many_updates
def test_state_goes_on_where_it_was(tiny_config):
    loop = build_loop(tiny_config)
    while loop.step < 320:
        loop.advance()
    resumed = build_loop(tiny_config, resumes=1)
    resumed.load_state_dict(loop.state_dict())
    assert (resumed.step, resumed.num_updates) == (320, loop.num_updates)
    assert resumed.source.num_labelled == loop.source.num_labelled
    assert torch.equal(critic_parameters(resumed), critic_parameters(loop))
    assert resumed.replay.num_steps == 320
    finish(resumed)
    assert score(resumed) > 15
