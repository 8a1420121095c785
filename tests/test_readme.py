"""The programs of the README and of the documentation do what they say."""

import ast
import importlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pbrl.queries.schedules import ScheduleConfig

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def programs(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def shortened(config):
    """The same run with fewer steps, labels and units."""
    schedule = ScheduleConfig(
        budget=4, session_size=2, first_step=400, interval=50, total_steps=500
    )
    preferences = config.preferences
    return replace(
        config,
        steps=500,
        eval_every=250,
        eval_episodes=1,
        sac=replace(config.sac, hidden_sizes=(16, 16)),
        preferences=replace(
            preferences,
            schedule=schedule,
            learning=replace(preferences.learning, passes=2, steps_per_label=None),
        ),
    )


def test_the_readme_trains_with_a_teacher_of_ones_own(tmp_path, monkeypatch):
    (program,) = programs(ROOT / "README.md")
    made = 'make_config("gym/Pendulum-v1", "qpa")'
    assert made in program
    monkeypatch.chdir(tmp_path)
    exec(program.replace(made, f"shortened({made})"), {"shortened": shortened})
    assert (tmp_path / "runs" / "still" / "result.json").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_the_pages_import_is_there(page):
    for program in programs(page):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "pbrl":
                module = importlib.import_module(node.module)
                for name in node.names:
                    is_there = hasattr(module, name.name)
                    assert is_there or importlib.import_module(f"{node.module}.{name.name}")


def test_the_pages_link_to_what_is_there():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)[^)]*\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
