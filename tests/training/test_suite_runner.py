import json
import os
import signal
import sys
import threading
import time

import pytest

from pbrl.training.files import plain
from pbrl.training.suite_runner import SuiteRunner
from pbrl.training.suites import Method, Records, SuiteRun, Task
from tests.training.records import make_result

# Stands in for `pbrl`: writes config.json, then as the agent's name says.
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
words = sys.argv[2:]
agent, out = words[words.index("--agent") + 1], Path(words[words.index("--out") + 1])
out.mkdir(parents=True, exist_ok=True)
(out / "config.json").write_text("{}")
print("threads", os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"], flush=True)
print("resumed" if "--resume" in words else "new", flush=True)
def stop(number, frame):
    print("checkpoint", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
(out / "metrics.csv").write_text("step,x\\n7,1\\n")
if agent == "fails":
    sys.exit("it broke")
if agent == "waits" and "--resume" not in words:
    time.sleep(60)
(out / "result.json").write_text(Path(sys.argv[1]).read_text())
"""


@pytest.fixture
def runner(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "result.json").write_text(json.dumps(plain(make_result())))
    lines = []
    made = SuiteRunner(
        Records(tmp_path / "records"),
        tmp_path / "runs",
        workers=2,
        report=lines.append,
        command=(sys.executable, str(tmp_path / "program.py"), str(tmp_path / "result.json")),
    )
    made.lines = lines
    return made


def run_of(agent, seed=0):
    task, method = Task(env="dmc/a-b"), Method(agent=agent)
    return SuiteRun(suite="s", task=task, method=method, seed=seed, options={})


def output(runner, run):
    return (runner.folder / f"{run.name}.log").read_text()


def test_missing_runs_are_run_with_one_thread_and_recorded(runner):
    runs = [run_of("qpa", seed) for seed in range(3)]
    outcome = runner.run(runs)
    assert sorted(run.seed for run in outcome.finished) == [0, 1, 2]
    assert not outcome.failed
    assert not outcome.is_stopped
    assert [record.suite for record in runner.records.load(runs)] == ["s"] * 3
    assert output(runner, runs[0]) == "threads 1 1\nnew\n"
    assert "finished dmc-a-b_qpa_0: return 25.00 in 0 minutes" in runner.lines


def test_what_is_recorded_is_not_run(runner):
    runner.run([run_of("qpa")])
    assert runner.run([run_of("qpa")]).finished == (run_of("qpa"),)  # from the first call
    assert output(runner, run_of("qpa")).count("new") == 1


def test_a_failure_shows_its_last_lines_and_stops_no_other(runner):
    outcome = runner.run([run_of("fails"), run_of("qpa", 1), run_of("qpa", 2)])
    assert outcome.failed == (run_of("fails"),)
    assert len(outcome.finished) == 2
    (line,) = [line for line in runner.lines if line.startswith("FAILED")]
    assert line.startswith("FAILED dmc-a-b_fails_0 (status 1):\n")
    assert "    it broke" in line


def test_time_runs_out_with_checkpoints_and_the_next_call_goes_on(runner):
    run = run_of("waits")
    assert runner.run([run], max_seconds=1.0).is_stopped
    assert output(runner, run).endswith("checkpoint\n")
    assert runner.run([run]).finished == (run,)
    assert "resuming dmc-a-b_waits_0" in runner.lines
    assert "resumed" in output(runner, run)


@pytest.fixture
def ctrl_c_counts():
    """Shells let programs in the background ignore Ctrl-C, and their children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("ctrl_c_counts")
def test_an_interruption_stops_the_runs(runner, number):
    timer = threading.Timer(1.0, os.kill, (os.getpid(), number))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        runner.run([run_of("waits", 0), run_of("waits", 1), run_of("waits", 2)])
    assert time.monotonic() - start < 30
    logs = sorted(path.name for path in runner.folder.glob("*.log"))
    assert logs == ["dmc-a-b_waits_0.log", "dmc-a-b_waits_1.log"]
    assert output(runner, run_of("waits", 0)).endswith("checkpoint\n")


def test_a_result_without_a_record_is_recorded_and_not_run_again(runner):
    run = run_of("qpa")
    folder = runner.folder / run.name
    folder.mkdir(parents=True)
    make_result().save(folder / "result.json")
    assert runner.run([run]).finished == (run,)
    assert not (runner.folder / f"{run.name}.log").exists()


def test_the_status_says_how_far_runs_are(runner):
    seen = []
    runner.run([run_of("waits")], max_seconds=2.0, watch=seen.append)
    assert seen[-1] == "0 done, 0 waiting; dmc-a-b_waits_0 at step 7"


def test_there_is_at_least_one_worker(tmp_path):
    with pytest.raises(ValueError, match="workers"):
        SuiteRunner(Records(tmp_path), tmp_path, workers=0, report=print)
