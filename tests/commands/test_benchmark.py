import pytest

from pbrl.commands.benchmark import main
from pbrl.training.records import Records
from pbrl.training.suites import load_suite
from tests.training.records import make_result

SUITE = """
title = "Small"
seeds = [0, 1]
tasks = [{ env = "dmc/walker-walk" }]
methods = [{ agent = "sac" }, { agent = "qpa", control = "flipped-labels" }]
"""


@pytest.fixture
def root(tmp_path):
    suites = tmp_path / "benchmarks" / "suites"
    suites.mkdir(parents=True)
    (suites / "small.toml").write_text(SUITE)
    (tmp_path / "docs").mkdir()
    suite = load_suite(suites / "small.toml")
    records = Records(tmp_path / "benchmarks" / "results" / "small")
    for run in suite.runs()[:2]:
        records.add(run, make_result(agent=run.agent, control=run.control))
    return tmp_path


def listed(root, capsys, *words):
    assert main(["small", "--root", str(root), "--list-runs", *words]) == 0
    return [tuple(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_the_runs_and_what_is_recorded_of_them(root, capsys):
    assert listed(root, capsys) == [
        ("recorded", "dmc-walker-walk_sac_0"),
        ("recorded", "dmc-walker-walk_qpa_flipped-labels_0"),
        ("missing", "dmc-walker-walk_sac_1"),
        ("missing", "dmc-walker-walk_qpa_flipped-labels_1"),
    ]


def test_some_of_the_runs(root, capsys):
    words = ["--only.agent", "qpa", "--only.seed", "1"]
    assert listed(root, capsys, *words) == [("missing", "dmc-walker-walk_qpa_flipped-labels_1")]
    with pytest.raises(ValueError, match=r"only\.task: the suite has \['dmc/walker-walk'\]"):
        listed(root, capsys, "--only.task", "walker")


def test_a_report_from_the_records_alone(root):
    assert main(["small", "--root", str(root), "--report-only"]) == 0
    assert "2 of 4 runs recorded" in (root / "docs" / "benchmarks.md").read_text()
    assert (root / "docs" / "figures" / "small-steps.svg").exists()


def test_nothing_left_to_run_makes_the_report(root, capsys):
    assert main(["small", "--root", str(root), "--only.seed", "0"]) == 0
    assert "2 of 2 runs are recorded" in capsys.readouterr().out
    assert (root / "docs" / "benchmarks.md").exists()
    assert not (root / "runs").exists()
