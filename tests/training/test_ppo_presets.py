import importlib
import json
from dataclasses import replace

import pytest

from pbrl.agents.ppo import PPO
from pbrl.commands.train import main
from pbrl.training.build import agent_class
from pbrl.training.config import TrainConfig
from pbrl.training.decode import decode
from pbrl.training.files import plain
from pbrl.training.presets import make_config
from pbrl.training.run import train
from pbrl.training.worlds_presets import EPISODE_STEPS, PPO_WORLDS

ENV = "mjx/cartpole-swingup"


@pytest.mark.parametrize("agent", ["ppo", "pref-ppo"])
def test_ppo_takes_many_environments_and_more_steps_than_sac(agent):
    off_policy = make_config(ENV, "sac" if agent == "ppo" else "pebble")
    config = make_config(ENV, agent)
    assert (config.agent, agent_class(config)) == (agent, PPO)
    assert (config.preferences is None) == (agent == "ppo")
    assert config.steps == 10 * off_policy.steps
    assert config.environment.num_envs * config.ppo.horizon == 4_096
    assert make_config("dmc/walker-walk", agent).environment.num_envs == 16
    assert decode(TrainConfig, plain(config)) == config


def test_sessions_come_as_often_in_a_run():
    few, many = (make_config(ENV, agent).preferences for agent in ("pebble", "pref-ppo"))
    for name in ("first_step", "interval", "total_steps"):
        assert getattr(many.schedule, name) == 10 * getattr(few.schedule, name)
    assert many.schedule.budget == few.schedule.budget
    assert many.warm_up_updates == 0


@pytest.mark.parametrize("agent", ["ppo", "pref-ppo"])
def test_thousands_of_worlds_have_the_numbers_of_playground(agent):
    config = make_config(ENV, agent, preset="worlds")
    assert (config.preset, config.environment.num_envs) == ("worlds", 2_048)
    assert config.ppo.horizon * PPO_WORLDS == 1_024 * 32 * 30
    assert (config.ppo.num_epochs, config.ppo.num_minibatches) == (16, 32)
    assert (config.ppo.discount, config.ppo.learning_rate) == (0.995, 1e-3)
    if agent == "pref-ppo":
        schedule = config.preferences.schedule
        assert schedule.first_step == schedule.interval == PPO_WORLDS * EPISODE_STEPS
        assert config.preferences.sampler.pool == PPO_WORLDS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"agent": "ppo", "preset": "paper"}, "'paper' has no numbers for ppo: take --preset cpu"),
        ({"agent": "ppo", "control": "flipped-labels"}, "control needs labels, and ppo learns"),
        ({"agent": "pref-ppo", "representation": "taco"}, "pref-ppo has no codes"),
    ],
)
def test_what_there_is_not_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_config("dmc/walker-walk", **arguments)


def test_codes_in_front_of_the_reward_go_with_it():
    config = make_config("dmc/walker-walk", "pref-ppo", representation="taco-reward")
    assert config.agent == "pref-ppo-taco-reward"
    assert config.preferences.reward.codes is not None


def test_it_runs_with_few_worlds_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("pbrl.envs.mjx.make"), "EPISODE_STEPS", 100)
    config = make_config(ENV, "pref-ppo", preset="worlds")
    schedule = replace(config.preferences.schedule, budget=10, first_step=400, interval=400)
    learning = replace(config.preferences.learning, steps_per_label=1.0)
    few = replace(
        config,
        steps=600,
        environment=replace(config.environment, num_envs=4),
        ppo=replace(config.ppo, value_hidden_sizes=(16,), horizon=50, num_epochs=2),
        preferences=replace(config.preferences, schedule=schedule, learning=learning),
        replay_capacity=800,
        eval_every=600,
        eval_episodes=1,
        log_every=200,
        threads=1,
    )
    result = train(few, tmp_path / "run")
    assert (result.labels_given, result.steps) == (10, 600)
    assert 0 <= result.score <= 100


def test_it_runs_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.import_module("pbrl.envs.mjx.make"), "EPISODE_STEPS", 50)
    small = "--steps 800 --environment.num-envs 8 --ppo.horizon 20 --ppo.num-epochs 1"
    often = "--eval-every 400 --eval-episodes 2 --checkpoint-every 400"
    words = [ENV, "--agent", "ppo", *small.split(), *often.split()]
    main([*words, "--out", str(tmp_path / "run")])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["agent"], result["steps"]) == ("ppo", 800)
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*words, "--updates-per-step", "2", "--out", str(tmp_path / "other")])
    assert "updates_per_step must be 1.0 with ppo" in capsys.readouterr().err
