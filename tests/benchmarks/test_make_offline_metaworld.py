import importlib
from pathlib import Path

import pytest

from pbrl.offline.collect.sources import Source
from pbrl.offline.values import ValueConfig

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("make_offline_metaworld")


def test_one_command_makes_datasets_and_labels_and_makes_them_once(
    script, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(script, "VALUE", ValueConfig(hidden_sizes=(16,), updates=20, rounds=2))
    sizes = ("--episodes", "4", "--expert-episodes", "1", "--segments", "20",
             "--reference-episodes", "1")  # fmt: skip
    words = ["--root", str(tmp_path), "--tasks", "drawer-open", *sizes]
    script.main(words)
    printed = capsys.readouterr().out
    assert "| drawer-open | 4        |" in printed
    data = tmp_path / "metaworld-cpl" / "drawer-open-v0"
    made = {path: path.stat().st_mtime_ns for path in data.rglob("*")}
    assert data / "labels" / "regret-64.npz" in made
    script.main(words)
    assert capsys.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in data.rglob("*")} == made


def test_every_task_has_four_demonstrators_who_get_worse(script):
    assert len(script.DEMONSTRATORS) == 6
    for task in script.DEMONSTRATORS:
        sources = script.behaviour(task)
        offsets = [source.offset for source in sources]
        assert offsets == sorted(set(offsets))
        assert len(offsets) == 4
        assert {source.noise for source in sources} == {0.3}
        assert isinstance(sources[0], Source)


def test_unknown_tasks_are_refused(script, capsys):
    with pytest.raises(SystemExit):
        script.main(["--tasks", "drawer-close"])
    assert "unknown tasks ['drawer-close']" in capsys.readouterr().err
