import os
import signal
import threading
import time

import pytest

from pbrl.training.files import json_text
from pbrl.training.launchers import Ending, LocalLauncher
from tests.training.launchers.standins import make_runner, output, run_of
from tests.training.records import make_result


@pytest.fixture
def runner(tmp_path):
    return make_runner(tmp_path, LocalLauncher(2))


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


def test_a_killed_run_goes_on_from_its_checkpoint(runner):
    run = run_of("dies-once")
    assert runner.run([run]).finished == (run,)
    assert output(runner, run) == "threads 1 1\nnew\nthreads 1 1\nresumed\n"
    assert "LOST dmc-a-b_dies-once_0 (killed by signal 9); it will be tried again" in runner.lines


def test_a_run_that_is_killed_again_and_again_fails(tmp_path):
    runner = make_runner(tmp_path, LocalLauncher(1), retries=1, threads=2)
    outcome = runner.run([run_of("dies")])
    assert outcome.failed == (run_of("dies"),)
    assert output(runner, run_of("dies")).count("threads 2 2") == 2
    assert runner.lines[-1].startswith("FAILED dmc-a-b_dies_0 (killed by signal 9, attempt 2):")


def test_the_number_of_retries_is_not_negative(tmp_path):
    with pytest.raises(ValueError, match="retries must be at least 0, got -1"):
        make_runner(tmp_path, LocalLauncher(1), retries=-1)


class Elsewhere:
    """A launcher whose runs end as told: what each attempt of a run comes to, by the run's name."""

    def __init__(self, endings, places=2):
        self.endings = {name: list(them) for name, them in endings.items()}
        self.places = places
        self.launched = []
        self.active = 0

    def check(self, jobs):
        if any("misfit" in job.name for job in jobs):
            raise ValueError("no node has what misfit needs")

    def num_places(self):
        return self.places

    def launch(self, job):
        self.launched.append(job.name)
        self.active += 1
        assert self.active <= self.places
        return Told(self, self.endings[job.name].pop(0))

    def close(self):
        pass


class Told:
    is_resumed = False

    def __init__(self, launcher, ending):
        self.launcher, self.ending, self.was_stopped = launcher, ending, False

    def poll(self):
        if self.ending == "ends when asked to":
            return DONE if self.was_stopped else None
        self.launcher.active -= 1
        return self.ending

    def progress(self):
        return "at step 1"

    def ask_to_stop(self):
        self.was_stopped = True

    def kill(self):
        pass


DONE = Ending(how="complete", result=json_text(make_result()))
LOST = Ending(how="its node was lost", was_killed=True, last_lines=("gone",))
BROKEN = Ending(how="status 2", last_lines=("no such option",))


def test_lost_nodes_cost_attempts_and_no_record(tmp_path):
    runs = [run_of("qpa", seed) for seed in range(4)]
    names = [run.name for run in runs]
    launcher = Elsewhere(
        dict(zip(names, [[LOST, DONE], [DONE], [LOST, LOST, LOST], [BROKEN]], strict=True))
    )
    runner = make_runner(tmp_path, launcher, records="memory://lost/records")
    outcome = runner.run(runs)
    assert {run.name for run in outcome.finished} == {names[0], names[1]}
    assert {run.name for run in outcome.failed} == {names[2], names[3]}
    attempts = [launcher.launched.count(name) for name in names]
    assert attempts == [2, 1, 3, 1]
    assert len(runner.records.load(runs)) == 2
    assert runner.records.missing(runs) == runs[2:]
    assert f"FAILED {names[2]} (its node was lost, attempt 3):\n    gone" in runner.lines


def test_a_cluster_without_places_is_waited_for(tmp_path):
    run = run_of("qpa")
    launcher = Elsewhere({run.name: [DONE]}, places=0)
    runner = make_runner(tmp_path, launcher)
    assert runner.run([run], max_seconds=0.6).is_stopped
    assert [line for line in runner.lines if "no machine is left" in line] == runner.lines
    launcher.places = 1
    assert runner.run([run]).finished == (run,)


def test_what_cannot_run_is_refused_before_anything_starts(tmp_path):
    launcher = Elsewhere({})
    runner = make_runner(tmp_path, launcher)
    with pytest.raises(ValueError, match="no node has"):
        runner.run([run_of("qpa"), run_of("misfit")])
    assert launcher.launched == []


def test_a_run_that_ends_while_all_are_stopped_is_recorded(tmp_path):
    run = run_of("qpa")
    runner = make_runner(tmp_path, Elsewhere({run.name: ["ends when asked to"]}))
    outcome = runner.run([run], max_seconds=0.5)
    assert outcome.is_stopped
    assert outcome.finished == (run,)
    assert runner.records.has(run)


def test_a_result_outlives_a_place_for_records_that_fails(tmp_path, monkeypatch):
    run = run_of("qpa")
    runner = make_runner(tmp_path, Elsewhere({run.name: [DONE]}))
    (tmp_path / "records").touch()  # a file where the folder should be
    with pytest.raises(OSError, match="records"):
        runner.run([run])
    (tmp_path / "records").unlink()
    assert runner.run([run]).finished == (run,)
    assert runner.launcher.launched == [run.name]
