"""The programs on the page about environments run as they stand."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "environments.md"
MARKS = ("walker-walk", "Reach", "envs.Rec", "baselines3", "reacher-easy")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(program: str) -> dict:
    names: dict = {"__name__": "documentation"}
    exec(compile(program, str(PAGE), "exec"), names)
    return names


def program_with(text: str) -> str:
    (program,) = [one for one in PROGRAMS if text in one]
    return program


def test_first_program_steps_eight_walkers():
    names = run(program_with('envs.make("dmc/walker-walk"'))
    assert names["observations"].shape == (8, 24)


def test_own_environment_plugs_in_by_id_and_by_class():
    names = run(program_with("class Reach"))
    env = names["env"]
    assert names["observations"].shape == (4, 2)
    assert env.record.max_episode_steps == 50
    _, _, _, _, infos = env.step(env.action_space.sample())
    assert infos["success"].shape == (4,)


def test_segments_come_out_of_a_gymnasium_loop():
    names = run(program_with("envs.RecordSegments"))
    assert names["segments"].observations.shape == (8, 50, 3)
    assert bool((names["segments"].true_returns() < 0).all())


def test_segments_come_out_of_a_stable_baselines3_loop():
    names = run(program_with("stable_baselines3"))
    replay = names["env"].replay
    assert replay.num_steps == 450
    assert replay.episode_lengths(replay.completed_episodes()).tolist() == [200, 200]


def test_batched_physics_steps_a_thousand_worlds():
    names = run(program_with("mjx/reacher-easy"))
    assert names["observations"].shape == (1024, 6)
    assert names["rewards"].shape == (1024,)


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_program_was_forgotten(program):
    assert sum(mark in program for mark in MARKS) == 1


def test_page_names_the_system_packages():
    assert {"libosmesa6", "libegl1"} <= set(re.findall(r"lib\w+", PAGE.read_text()))
