from dataclasses import replace

import pytest

from pbrl import envs
from pbrl.queries.samplers import SamplerConfig
from pbrl.rewards import RewardConfig
from pbrl.training.build import build_loop, check_sessions, dimensions, make_env
from pbrl.training.config import EnvironmentConfig
from pbrl.training.preferences import PreferenceReward
from pbrl.training.reward_source import TrueReward


def test_the_parts_are_those_of_the_configuration(tiny_config):
    loop = build_loop(tiny_config)
    assert isinstance(loop.source, PreferenceReward)
    assert loop.source.schedule.config.total_steps == tiny_config.steps
    assert loop.source.learner.ensemble.num_members == 2
    assert loop.episode_length == 20
    assert isinstance(build_loop(replace(tiny_config, preferences=None)).source, TrueReward)


def test_purposes_get_different_seeds(tiny_config):
    first, second = (make_env(tiny_config, num_envs=1, key=(key,)) for key in (0, 1))
    assert not (first.reset()[0] == second.reset()[0]).all()
    assert dimensions(first) == (2, 1)


def test_training_environments_alone_go_to_rollout_workers(tiny_config, monkeypatch):
    asked = []

    def make_on_workers(env_id, num_envs, *, workers, **options):
        asked.append((env_id, num_envs, workers))
        return envs.make(env_id, num_envs, **options)

    monkeypatch.setattr("pbrl.envs.ray_workers.make_on_workers", make_on_workers)
    config = replace(tiny_config, environment=EnvironmentConfig(num_envs=2, workers=2))
    build_loop(config)
    make_env(config, num_envs=3, key=(1,))  # as for an evaluation
    assert asked == [(config.env, 2, 2)]


def test_a_first_session_after_the_end_is_refused(tiny_config):
    with pytest.raises(ValueError, match="first_step"):
        build_loop(replace(tiny_config, steps=100))


def test_segments_longer_than_every_episode_are_refused_before_any_step(tiny_config):
    preferences = tiny_config.preferences
    sampler = replace(preferences.sampler, segment_length=21)
    config = replace(tiny_config, preferences=replace(preferences, sampler=sampler))
    with pytest.raises(ValueError, match="segments of 21 steps are longer than every episode"):
        build_loop(config)


@pytest.mark.parametrize(
    ("env", "num_envs", "steps"),
    [("dmc/cartpole-swingup", 16, 16_000), ("gym/Pendulum-v1", 100, 500)],
)
def test_a_run_that_ends_before_its_first_episode_is_refused(tiny_config, env, num_envs, steps):
    environment = EnvironmentConfig(num_envs=num_envs, backend="official")
    config = replace(tiny_config, env=env, environment=environment, steps=steps)
    with pytest.raises(ValueError, match="no session can be held") as refused:
        check_sessions(config, config.preferences, 1_000 if "dmc" in env else 200)
    for part in ("first_step 100", f"num_envs {num_envs}", "1000" if "dmc" in env else "5 steps"):
        assert part in str(refused.value)
    check_sessions(replace(config, steps=steps + 1), config.preferences, 1_000)


@pytest.mark.parametrize("score", ["disagreement", "mutual-information"])
def test_a_score_that_compares_members_needs_several(tiny_config, score):
    preferences = replace(
        tiny_config.preferences,
        sampler=SamplerConfig(segment_length=5, score=score),
        reward=RewardConfig(num_members=1),
    )
    with pytest.raises(ValueError, match=r"'.*' compares .* preferences\.reward\.num_members is 1"):
        build_loop(replace(tiny_config, preferences=preferences))
    build_loop(
        replace(tiny_config, preferences=replace(preferences, reward=RewardConfig(num_members=2)))
    )


def test_a_replay_that_holds_no_segment_is_refused(tiny_config):
    environment = EnvironmentConfig(num_envs=20)
    config = replace(tiny_config, environment=environment, replay_capacity=99)
    with pytest.raises(ValueError, match="replay_capacity 99 .* raise it to 100"):
        build_loop(config)
