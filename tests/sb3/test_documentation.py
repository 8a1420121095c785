"""The programs of the page about stable-baselines3 run one after the other, with fewer steps."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pbrl.reward_learning import RewardLearningConfig
from pbrl.sb3 import GymnasiumVecEnv
from pbrl.training.presets import make_config
from pbrl.training.run import train

PAGE = Path(__file__).parents[2] / "docs" / "stable-baselines3.md"
FEWER = {  # what stands on the page, and what is run here
    "budget=100, session_size=10": "budget=8, session_size=4",
    "budget=500, session_size=25": "budget=8, session_size=4",
    "first_step=2_000, interval=1_000": "first_step=400, interval=20",
    "first_step=8_000, interval=8_000": "first_step=1_000, interval=20",
    "segment_length=25)": "segment_length=25), learning=RewardLearningConfig(passes=2)",
    "15_000": "425",
    "n_steps=1_024": "n_steps=256",
    "n_steps=256, seed": "n_steps=256, n_epochs=1, seed",
    "150_000": "1_060",
    "5_000": "10",
    "20_000": "1_030",
    '"pendulum/': '"FOLDER/',
}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the programs leave behind, each of them under its place on the page."""
    page = PAGE.read_text()
    for long, short in FEWER.items():
        assert long in page
        page = page.replace(long, short)
    page = page.replace("FOLDER", str(tmp_path_factory.mktemp("pendulum")))
    scope = {"__name__": "documentation", "RewardLearningConfig": RewardLearningConfig}
    left = []
    for program in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        if "load_agent" in program:  # below
            continue
        exec(compile(program, str(PAGE), "exec"), scope)
        left.append(dict(scope))
    return left


def test_every_program_asks_for_its_labels(names):
    asked = [left["callback"].source.num_asked for left in names]
    assert asked == [8, 8, 8, 8, 8]


def test_steps_are_recorded(names):
    steps = [left["env"].replay.num_steps for left in names]
    assert steps == [425, 2048, 425, 435, 2048]


def test_a_run_went_on_after_loading(names):
    assert names[3]["model"].num_timesteps == 435
    assert names[3]["callback"] is not names[2]["callback"]


def test_policies_go_out_and_come_back(tmp_path):
    page = PAGE.read_text()
    (program,) = (p for p in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "to_sb3" in p)
    config = make_config("gym/Pendulum-v1", "sac")
    small = replace(config.sac, hidden_sizes=(16, 16))
    short = replace(config, steps=60, eval_every=60, eval_episodes=1, seed_steps=40, sac=small)
    train(short, tmp_path / "run")
    for stands, runs in {"runs/gym/Pendulum-v1/pebble-0": "run", "pendulum/": ""}.items():
        assert f'"{stands}' in program
        program = program.replace(f'"{stands}', f'"{tmp_path}/{runs}')
    scope = {"GymnasiumVecEnv": GymnasiumVecEnv}
    exec(compile(program, str(PAGE), "exec"), scope)
    seen = torch.randn(8, 3)
    expected = scope["agent"].act(seen, deterministic=True)
    torch.testing.assert_close(scope["ours"].act(seen, deterministic=True), expected)
