"""The programs of the README and of the documentation do what they say."""

import ast
import builtins
import importlib
import re
import symtable
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


def loose_names(program, before):
    """Return what a program uses and nobody defines: neither itself nor the programs before it.

    Variables may come from a program further up the page, imports may not.
    """
    tables, used, imported = [symtable.symtable(program, "program", "exec")], set(), set()
    assigned = {one.get_name() for one in tables[0].get_symbols() if one.is_assigned()}
    imported |= {one.get_name() for one in tables[0].get_symbols() if one.is_imported()}
    while tables:
        table = tables.pop()
        tables += table.get_children()
        is_module = table.get_type() == "module"
        used |= {
            one.get_name()
            for one in table.get_symbols()
            if one.is_referenced() and (is_module or one.is_global())
        }
    own = assigned | imported
    return sorted(used - own - before - set(dir(builtins))), before | (own - imported)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_programs_of_a_page_define_and_import_what_they_use(page):
    before = set()
    for program in programs(page):
        loose, before = loose_names(program, before)
        assert not loose, f"{page.name} uses {loose} without importing or defining it:\n{program}"


def test_what_is_loose_is_found():
    first = "import torch\nmodel = 1\ndef show(x):\n    return x + later\nlater = 2\n"
    loose, before = loose_names(first, set())
    assert (loose, before) == ([], {"model", "show", "later"})
    second = "def build():\n    return torch.zeros(model)\nprint(show(data))\n"
    assert loose_names(second, before)[0] == ["data", "torch"]


WHOLE = ("credit-and-transfer.md", "many-seeds.md", "queries.md", "teachers.md")


@pytest.mark.parametrize("page", WHOLE)
def test_the_programs_of_a_page_run_one_after_the_other(page):
    names = {}
    for program in programs(ROOT / "docs" / page):
        exec(program, names)


def test_a_dataset_of_ones_own_is_made_read_and_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, drawn, *_, own, compared = programs(ROOT / "docs" / "datasets.md")
    names = {}
    for program in (own, drawn, compared):
        exec(program, names)
    said = capsys.readouterr().out
    assert "torch.Size([20, 5, 4])" in said
    assert "4 " in said.splitlines()[-1]


def test_the_pages_link_to_what_is_there():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)[^)]*\)", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
