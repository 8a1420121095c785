from pathlib import Path

import gymnasium
import numpy as np
import pytest
import tyro

from pbrl.commands.train import TrainOptions, configure, main
from pbrl.training.files import write_json


class Undrawn(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}


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


def start(tmp_path, *words):
    """Store what the words ask for as the configuration of a run."""
    write_json(tmp_path / "config.json", read("gym/Pendulum-v1", *words))


def read(*words):
    options, rest = tyro.cli(TrainOptions, args=list(words), return_unknown_args=True)
    return configure(options, rest, words)


@pytest.mark.parametrize(
    ("env", "words", "difference"),
    [
        ("gym/MountainCarContinuous-v0", [], 'env: "gym/Pendulum-v1" -> "gym/MountainCar'),
        ("gym/Pendulum-v1", ["--agent", "qpa"], 'agent: "pebble" -> "qpa"'),
        ("gym/Pendulum-v1", ["--agent=qpa"], 'agent: "pebble" -> "qpa"'),
        ("gym/Pendulum-v1", ["--representation", "taco"], 'agent: "pebble" -> "pebble-taco"'),
        ("gym/Pendulum-v1", ["--preset", "ppe"], 'preset: "cpu" -> "ppe"'),
        ("gym/Pendulum-v1", ["--seed", "0"], "seed: 4 -> 0"),
        ("gym/Pendulum-v1", ["--teacher", "oracle"], "teacher.mistake_probability: 0.1 -> 0.0"),
        ("gym/Pendulum-v1", ["--teacher", "human", "--study", "x"], 'preferences.study: "" -> "x"'),
        ("gym/Pendulum-v1", ["--sampler", "uniform"], 'sampler.score: "entropy" -> null'),
        ("gym/Pendulum-v1", ["--control", "none"], 'control: "flipped-labels" -> "none"'),
    ],
)
def test_a_resumed_run_refuses_options_that_say_otherwise(tmp_path, env, words, difference):
    named = [
        *("--agent", "pebble", "--seed", "4", "--teacher", "mistake", "--sampler", "entropy"),
        *("--control", "flipped-labels"),
    ]
    start(tmp_path, *named, "--steps", "3000")
    there = ["--resume", "--out", str(tmp_path)]
    with pytest.raises(ValueError, match=r"\(stored -> now\)") as refused:
        read(env, *words, *there)
    assert difference in str(refused.value)
    assert read("gym/Pendulum-v1", *there) == read("gym/Pendulum-v1", *named, *there)


def test_a_resumed_run_takes_all_of_its_own_options(tmp_path):
    words = [
        *("--agent", "qpa", "--representation", "taco-reward", "--sampler", "near-on-policy"),
        *("--preferences.sampler.pool", "3", "--preferences.sampler.segment-length", "20"),
        *("--teacher", "mistake", "--preferences.teacher.mistake-probability", "0.2"),
    ]
    start(tmp_path, *words)
    resumed = read("gym/Pendulum-v1", *words, "--resume", "--out", str(tmp_path))
    assert (resumed.agent, resumed.preferences.sampler.pool) == ("qpa-taco-reward", 3)
    assert resumed.preferences.teacher.mistake_probability == 0.2


def test_a_run_of_people_goes_on_with_them_alone(tmp_path):
    start(tmp_path, "--teacher", "human", "--study", "walks")
    there = ["--resume", "--out", str(tmp_path)]
    for words in ([], ["--teacher", "human", "--study", "walks"]):
        assert read("gym/Pendulum-v1", *words, *there).preferences.study == "walks"
    with pytest.raises(ValueError, match='preferences.study: "walks" -> ""'):
        read("gym/Pendulum-v1", "--teacher", "oracle", *there)
    with pytest.raises(ValueError, match="go together"):
        read("gym/Pendulum-v1", "--teacher", "human", *there)


def test_a_resumed_oracle_asks_nobody(tmp_path):
    start(tmp_path, "--agent", "sac")
    with pytest.raises(ValueError, match="sac learns from the true reward"):
        read("gym/Pendulum-v1", "--control", "shuffled-labels", "--resume", "--out", str(tmp_path))


def test_a_video_of_what_cannot_be_drawn_is_refused_before_anything_is_learned(
    tmp_path, monkeypatch
):
    gymnasium.register("Undrawn-v0", entry_point=Undrawn, max_episode_steps=5)
    words = ["gym/Undrawn-v0", "--agent", "sac", "--video", "--out", str(tmp_path / "run")]
    with pytest.raises(ValueError, match=r"no video .* has no method render: .* Leave --video out"):
        main(words)
    assert not (tmp_path / "run").exists()


def test_unknown_words_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        configure(TrainOptions(env="gym/Pendulum-v1"), ["--stepz", "10"])
    assert stop.value.code == 2
    assert "stepz" in capsys.readouterr().err


def test_a_budget_below_a_session_says_what_to_change(capsys):
    with pytest.raises(SystemExit):
        configure(TrainOptions(env="gym/Pendulum-v1"), ["--preferences.schedule.budget", "3"])
    said = capsys.readouterr().err
    assert "--preferences.schedule.budget" in said
    assert "--preferences.schedule.session-size" in said


@pytest.mark.parametrize(
    ("words", "next_step"),
    [
        (["gym/Pendulum-v1", "--steps", "500"], r"\(--steps\) or lower first_step \(--preferences"),
        (["gym/Pendulum-v1", "--agent", "sac", "--control", "flipped-labels"], "--agent qpa"),
        (["gym/Pendulum-v1", "--agent", "taco"], "dmc/walker-walk: choose one of them"),
        (["gym/CartPole-v1"], "stable-baselines3 learn from preferences: pbrl.sb3"),
        (["gym/Pendulum-v1", "--teacher", "human"], "pbrl label study create NAME"),
        (
            ["gym/Pendulum-v1", "--teacher", "human", "--study", "mine"],
            "pbrl label study create mine",
        ),
    ],
)
def test_what_cannot_be_says_what_to_do(tmp_path, monkeypatch, words, next_step):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=next_step):
        main(words)


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write the run folder") as caught:
        main(["gym/Pendulum-v1", "--agent", "sac", "--out", str(tmp_path / "file" / "run")])
    assert "--out" in caught.value.__notes__[0]
