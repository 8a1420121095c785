from dataclasses import replace

import pytest
import torch

from pbrl.queries import CallableTeacher
from pbrl.training.build import build_loop, make_env
from pbrl.training.evaluation import evaluate


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


def test_true_reward_learns_without_asking(tiny_config):
    loop = finish(build_loop(replace(tiny_config, agent="sac", preferences=None)))
    assert score(loop) > 15
    assert loop.source.num_asked == 0


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


def test_a_ring_that_wraps_keeps_every_label(tiny_config):
    loop = finish(build_loop(replace(tiny_config, replay_capacity=150)))
    labelled = loop.source.feedback.labelled()
    assert len(labelled) == 60
    assert loop.replay.gather(labelled.index).mask.all()


def test_a_teacher_of_ones_own(tiny_config):
    asked = []

    def teacher(segments):
        asked.append(len(segments))
        returns = segments.true_returns()
        return (returns[:, 1] > returns[:, 0]).float()

    loop = finish(build_loop(tiny_config, teacher=CallableTeacher(teacher)))
    assert asked == [20, 20, 20]
    assert loop.source.feedback.annotators == ("callable",)


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
