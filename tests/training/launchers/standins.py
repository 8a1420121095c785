"""Runs of a program that stands in for `pbrl`, and what runs them."""

import json
import sys
from pathlib import Path

from pbrl.training.files import plain
from pbrl.training.records import Records
from pbrl.training.suite_runner import SuiteRunner
from pbrl.training.suites import Method, SuiteRun, Task
from tests.training.records import make_result

PROGRAM = Path(__file__).with_name("program.py")


def run_of(agent, seed=0, **task):
    task, method = Task(**(task or {"env": "dmc/a-b"})), Method(agent=agent)
    return SuiteRun(suite="s", task=task, method=method, seed=seed, options={})


def make_runner(tmp_path, launcher, records=None, **options):
    """Return a runner of stand-ins whose reports are kept in `lines`."""
    (tmp_path / "result.json").write_text(json.dumps(plain(make_result())))
    lines = []
    runner = SuiteRunner(
        Records(records or tmp_path / "records"),
        tmp_path / "runs",
        launcher=launcher,
        report=lines.append,
        command=(sys.executable, str(PROGRAM), str(tmp_path / "result.json")),
        **options,
    )
    runner.lines = lines
    return runner


def output(runner, run):
    return (runner.folder / f"{run.name}.log").read_text()
