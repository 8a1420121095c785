import importlib
from dataclasses import replace

import pytest

from pbrl.training.presets import make_config
from pbrl.training.run import train
from pbrl.training.worlds_presets import EPISODE_STEPS, SAC_WORLDS

ENV = "mjx/cartpole-swingup"


@pytest.mark.parametrize("agent", ["sac", "pebble", "qpa"])
def test_a_thousand_worlds_share_few_updates_of_large_batches(agent):
    config = make_config(ENV, agent, preset="worlds")
    assert (config.preset, config.env, config.agent) == ("worlds", ENV, agent)
    assert config.environment.num_envs == 1_024
    assert config.updates_per_step * SAC_WORLDS == 2  # per step of all
    assert config.batch_size == 32_768
    assert config.replay_capacity == 10_485_760
    steps = SAC_WORLDS * EPISODE_STEPS
    assert config.steps % steps == config.eval_every % steps == 0
    assert (config.preferences is None) == (agent == "sac")


def test_sessions_are_held_when_all_episodes_end():
    config = make_config(ENV, "qpa", preset="worlds")
    schedule, sampler = config.preferences.schedule, config.preferences.sampler
    assert schedule.first_step == schedule.interval == 1_024_000
    assert schedule.budget // schedule.session_size * schedule.interval < config.steps
    assert sampler.pool == config.replay_rule.recent_episodes == SAC_WORLDS
    assert make_config(ENV, "qpa", preset="worlds", sampler="uniform").preferences.sampler.pool


def test_other_environments_are_refused():
    with pytest.raises(ValueError, match="'worlds' is for batched .* got 'dmc/walker-walk'"):
        make_config("dmc/walker-walk", preset="worlds")
    with pytest.raises(ValueError, match="drqv2 sees images"):
        make_config("dmc/walker-walk", "drqv2", preset="worlds")


def test_it_runs_with_few_worlds_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("pbrl.envs.mjx.make"), "EPISODE_STEPS", 100)
    config = make_config(ENV, "qpa", preset="worlds")
    schedule = replace(config.preferences.schedule, budget=10, first_step=400, interval=400)
    learning = replace(config.preferences.learning, steps_per_label=1.0)
    few = replace(
        config,
        steps=450,
        environment=replace(config.environment, num_envs=4),
        sac=replace(config.sac, hidden_sizes=(16, 16)),
        preferences=replace(config.preferences, schedule=schedule, learning=learning),
        batch_size=32,
        updates_per_step=0.1,
        seed_steps=100,
        replay_capacity=800,
        eval_every=450,
        eval_episodes=1,
        log_every=100,
        threads=1,
    )
    result = train(few, tmp_path / "run")
    assert result.labels_given == 10
    assert result.config["preset"] == "worlds"
    assert 0 <= result.score <= 100
