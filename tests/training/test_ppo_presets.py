import importlib
import json

import pytest

from pbrl.agents.ppo import PPO
from pbrl.commands.train import main
from pbrl.training.build import chosen_agent
from pbrl.training.config import TrainConfig
from pbrl.training.decode import decode
from pbrl.training.files import plain
from pbrl.training.presets import make_config
from pbrl.training.worlds_presets import EPISODE_STEPS, PPO_WORLDS

ENV = "mjx/cartpole-swingup"


@pytest.mark.parametrize("agent", ["ppo", "pref-ppo"])
def test_ppo_takes_many_environments_and_more_steps_than_sac(agent):
    off_policy = make_config(ENV, "sac" if agent == "ppo" else "pebble")
    config = make_config(ENV, agent)
    assert (config.agent, chosen_agent(config)[0]) == (agent, PPO)
    assert (config.preferences is None) == (agent == "ppo")
    assert config.steps == 20 * off_policy.steps
    assert config.environment.num_envs * config.ppo.horizon == 4_096
    assert make_config("dmc/walker-walk", agent).environment.num_envs == 16
    assert decode(TrainConfig, plain(config)) == config


def test_sessions_come_as_often_in_a_run():
    few, many = (make_config(ENV, agent).preferences for agent in ("pebble", "pref-ppo"))
    for name in ("first_step", "interval", "total_steps"):
        assert getattr(many.schedule, name) == 20 * getattr(few.schedule, name)
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


def test_it_runs_with_few_worlds_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.import_module("pbrl.envs.mjx.make"), "EPISODE_STEPS", 50)
    small = (
        "--environment.num-envs 8 --ppo.horizon 20 --ppo.num-epochs 1 --ppo.value-hidden-sizes 16 "
        "--steps 800 --eval-every 800 --eval-episodes 2 --log-every 400 --replay-capacity 800 "
        "--preferences.schedule.budget 10 --preferences.schedule.first-step 400 "
        "--preferences.learning.steps-per-label 1 --threads 1"
    )
    words = [ENV, "--agent", "pref-ppo", "--preset", "worlds", *small.split()]
    main([*words, "--out", str(tmp_path / "run")])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["agent"], result["steps"], result["labels_given"]) == ("pref-ppo", 800, 10)
    assert 0 <= result["score"] <= 50
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main([*words, "--updates-per-step", "2", "--out", str(tmp_path / "other")])
    assert "updates_per_step must be 1.0 with ppo" in capsys.readouterr().err
