import sys

import pytest

from pbrl.commands.benchmark import main
from pbrl.training.files import json_text
from pbrl.training.launchers import Ending
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


def test_what_is_refused_before_any_run_leaves_the_page_as_it_is(root, capsys):
    with pytest.raises(ValueError, match="address must be auto, HOST:PORT"):
        main(["small", "--root", str(root), "--launcher", "ray", "--address", "nowhere"])
    assert "written" not in capsys.readouterr().out
    assert not (root / "docs" / "benchmarks.md").exists()


def test_nothing_left_to_run_makes_the_report(root, capsys):
    assert main(["small", "--root", str(root), "--only.seed", "0"]) == 0
    assert "2 of 2 runs are recorded" in capsys.readouterr().out
    assert (root / "docs" / "benchmarks.md").exists()
    assert not (root / "runs").exists()


def test_records_of_the_same_runs_are_shared_between_suites(root, capsys):
    other = """
        title = "Other"
        seeds = [0, 1]
        shares = ["small"]
        tasks = [{ env = "dmc/walker-walk" }]
        methods = [
            { agent = "sac", name = "oracle" },
            { agent = "sac", name = "short", options = { steps = 10 } },
            { agent = "qpa" },
        ]
    """
    (root / "benchmarks" / "suites" / "other.toml").write_text(other)
    words = ["other", "--root", str(root), "--only.seed", "0", "--only.agent", "oracle"]
    assert main(words) == 0  # and nothing is left to run
    assert "_oracle_0: the same run is recorded in small" in capsys.readouterr().out
    suite = load_suite(root / "benchmarks" / "suites" / "other.toml")
    records = Records(root / "benchmarks" / "results" / "other")
    (record,) = records.load(suite.runs())
    assert (record.suite, record.agent, record.seed) == ("other", "oracle", 0)
    assert len(records.missing(suite.runs())) == 5


class OnACluster:
    """Stands for the launcher on a Ray cluster: every run ends at once."""

    made = []

    def __init__(self, address, **options):
        self.made.append((address, options))
        self.jobs = []

    def check(self, jobs):
        self.jobs = jobs

    def num_places(self):
        return 1

    def launch(self, job):
        result = json_text(make_result(agent="sac" if "sac" in job.name else "qpa"))

        class Done:
            is_resumed = False
            poll = progress = ask_to_stop = kill = lambda _: Ending(how="complete", result=result)

        return Done()

    def close(self):
        pass


def test_a_suite_on_a_cluster_is_recorded_at_a_url(root, capsys, monkeypatch):
    monkeypatch.setattr("pbrl.training.launchers.ray_cluster.RayLauncher", OnACluster)
    words = ["small", "--root", str(root), "--records", "memory://bucket/small"]
    cluster = ["--launcher", "ray", "--address", "ray://head:10001", "--gpus-per-run", "0.25"]
    assert main([*words, *cluster]) == 0
    ((address, options),) = OnACluster.made
    assert address == "ray://head:10001"
    del options["report"]
    assert options == {"cpus_per_run": 1.0, "gpus_per_run": 0.25, "workers": None}
    assert "finished dmc-walker-walk_qpa_flipped-labels_1" in capsys.readouterr().out
    assert "4 of 4 runs recorded" in (root / "docs" / "benchmarks.md").read_text()
    assert main([*words, "--list-runs"]) == 0
    assert "missing" not in capsys.readouterr().out


def test_a_cluster_needs_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'pbrl\[ray\]'"):
        main(["small", "--root", str(root), "--launcher", "ray"])


def test_an_address_goes_with_a_cluster(root, capsys):
    with pytest.raises(SystemExit):
        main(["small", "--root", str(root), "--address", "head:6379"])
    assert "address 'head:6379' goes with --launcher ray" in capsys.readouterr().err


def test_a_folder_without_suites_is_told_from_a_wrong_name(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="suites lie in benchmarks/suites of a checkout"):
        main(["small", "--root", str(tmp_path / "elsewhere")])
