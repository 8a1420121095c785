import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pbrl.training.files import plain
from pbrl.training.launchers import Job, RunProcess
from pbrl.training.launchers.lifeline import __file__ as LIFELINE
from tests.training.launchers.standins import PROGRAM
from tests.training.records import make_result


@pytest.fixture
def job(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps(plain(make_result())))

    def make(agent):
        folder = tmp_path / "runs" / agent
        words = ("train", "a/b", "--agent", agent, "--out", str(folder))
        return Job(
            name=agent,
            folder=folder,
            start=words,
            resume=(*words, "--resume"),
            directory=tmp_path,
            command=(sys.executable, str(PROGRAM), str(tmp_path / "result.json")),
        )

    return make


def wait(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Somebody else's child stays in the table of processes until its new parent looks.
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_a_run_ends_with_its_result(job):
    ending = wait(RunProcess(job("qpa")).poll)
    assert ending.how == "complete"
    assert json.loads(ending.result)["agent"] == "qpa"
    assert not ending.was_killed


def test_a_failure_has_the_last_lines(job):
    ending = wait(RunProcess(job("fails")).poll)
    assert (ending.how, ending.was_killed, ending.result) == ("status 1", False, None)
    assert ending.last_lines == ("threads 1 1", "new", "it broke")


def test_a_killed_run_is_told_from_one_that_failed(job):
    ending = wait(RunProcess(job("dies")).poll)
    assert (ending.how, ending.was_killed) == ("killed by signal 9", True)


def test_a_run_asked_to_stop_writes_its_checkpoint(job):
    process = RunProcess(job("waits"))
    wait(lambda: process.progress() == "at step 7")  # of the last whole row
    wait((process.job.folder / "config.json").exists)
    process.ask_to_stop()
    ending = wait(process.poll)
    assert (ending.how, ending.was_killed) == ("status 130", True)
    assert ending.last_lines[-1] == "checkpoint"


def test_a_killed_process_leaves_nothing(job):
    process = RunProcess(job("waits"))
    pid = int(wait(lambda: (f := process.job.folder / "pid").exists() and f.read_text()))
    process.kill()
    wait(lambda: not is_alive(pid))


def test_a_run_dies_with_whoever_started_it(tmp_path, job):
    words = (*job("waits").command, *job("waits").start)
    starter = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, {LIFELINE!r}, *{words!r}], "
        "stdin=subprocess.PIPE, start_new_session=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", starter])
    pid = int(wait(lambda: (f := job("waits").folder / "pid").exists() and f.read_text()))
    assert is_alive(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait(lambda: not is_alive(pid))
