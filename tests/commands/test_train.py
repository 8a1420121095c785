from pathlib import Path

import pytest

from pbrl.commands.train import TrainOptions, configure
from pbrl.training.files import write_json


def test_every_number_has_an_option():
    config = configure(
        TrainOptions(env="dmc/walker-walk"),
        ["--steps", "1234", "--preferences.schedule.budget", "50", "--sac.discount", "0.9"],
    )
    assert (config.steps, config.preferences.schedule.budget) == (1234, 50)
    assert config.sac.discount == 0.9


def test_names_choose_the_parts():
    options = TrainOptions(
        env="dmc/walker-walk", agent="pebble", teacher="equal", sampler="entropy", seed=3
    )
    config = configure(options)
    assert config.preferences.sampler.score == "entropy"
    assert config.preferences.teacher.equal_threshold == 0.1
    assert options.folder == Path("runs/dmc/walker-walk/pebble-3")


def test_what_is_seen_of_states_can_be_chosen():
    options = TrainOptions(env="dmc/walker-walk", agent="qpa", representation="taco")
    config = configure(options, ["--sac.codes.taco.num-actions", "2"])
    assert config.agent == "qpa-taco"
    assert config.sac.codes.taco.num_actions == 2
    assert options.folder == Path("runs/dmc/walker-walk/qpa-taco-0")


def test_numbers_of_images_have_options_too():
    words = ["--environment.pixels.action-repeat", "4", "--drqv2.hidden-size", "64"]
    config = configure(TrainOptions(env="dmc/walker-walk", agent="taco"), words)
    assert config.environment.pixels.action_repeat == 4
    assert config.drqv2.hidden_size == 64


def test_a_resumed_run_keeps_its_own_configuration(tmp_path):
    first = configure(TrainOptions(env="gym/Pendulum-v1", seed=7), ["--steps", "3000"])
    write_json(tmp_path / "config.json", first)
    options = TrainOptions(env="gym/Pendulum-v1", out=tmp_path, resume=True)
    assert configure(options) == first


def test_unknown_words_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        configure(TrainOptions(env="gym/Pendulum-v1"), ["--stepz", "10"])
    assert stop.value.code == 2
    assert "stepz" in capsys.readouterr().err


def test_a_budget_below_a_session_says_what_to_change():
    with pytest.raises((ValueError, SystemExit)):
        configure(TrainOptions(env="gym/Pendulum-v1"), ["--preferences.schedule.budget", "3"])
