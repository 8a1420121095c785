"""A suite on a Ray cluster of two nodes, one of which is lost in the middle."""

import os
import signal
import threading
import time

import pytest

from pbrl.cluster import NodeFault
from pbrl.training.launchers import ray_cluster
from pbrl.training.launchers.ray_cluster import RayLauncher
from tests.ray_nodes import two_nodes
from tests.training.launchers.standins import make_runner, output, run_of
from tests.training.launchers.test_process import is_alive

pytest.importorskip("ray", reason="the extra ray is not installed")


@pytest.fixture(scope="module")
def nodes():
    with two_nodes() as nodes:
        yield nodes


@pytest.fixture
def launcher(nodes):
    lines = []
    launcher = RayLauncher(nodes.address, report=lines.append)
    launcher.lines = lines
    yield launcher
    launcher.close()


def started(runner, runs):
    return [run for run in runs if (runner.folder / run.name / "config.json").exists()]


def in_the_background(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def wait(condition, seconds=150.0):  # a machine may be busy with something else
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_numbers_that_fit_no_node_are_refused(launcher, job_of):
    launcher.gpus_per_run = 0.25
    with pytest.raises(NodeFault, match="no node of the cluster has a GPU: leave it out, or"):
        launcher.check([job_of()])
    launcher.gpus_per_run, launcher.cpus_per_run = 0.0, 3.0
    with pytest.raises(NodeFault, match=r"takes 3 CPUs .* has 2 CPUs and 0 GPUs.*: lower"):
        launcher.check([job_of()])


@pytest.fixture
def job_of(tmp_path, launcher):
    return lambda **task: make_runner(tmp_path, launcher).job(run_of("qpa", **task))


def test_nodes_that_would_compute_something_else_are_refused(launcher, monkeypatch):
    cluster = launcher._cluster
    with pytest.raises(NodeFault, match=r"cannot import no_such_module .*No module named") as fault:
        cluster.check_nodes(cluster.nodes(), imports="no_such_module")
    assert "pip install pbrl==" in str(fault.value)
    assert str(fault.value).count("node 127.0.0.1") == 2
    monkeypatch.setattr("pbrl.cluster.platform.python_version", lambda: "3.99.0")
    with pytest.raises(NodeFault, match=r"has python 3\.[\d.]+ \(here 3\.99\.0\): install"):
        cluster.check_nodes(cluster.nodes())


def test_data_that_a_node_lacks_is_named(launcher, job_of):
    with pytest.raises(NodeFault, match=r"does not have no/such.npz .*: put the data on a shared"):
        launcher.check([job_of(dataset="no/such.npz")])


def test_ctrl_c_leaves_the_cluster_free_and_the_suite_to_go_on(tmp_path, launcher):
    runner, run = make_runner(tmp_path, launcher), run_of("waits")

    def interrupt():
        wait(lambda: started(runner, [run]))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = in_the_background(interrupt)
    with pytest.raises(KeyboardInterrupt):
        runner.run([run])
    thread.join()
    assert output(runner, run).endswith("checkpoint\n")
    wait(lambda: launcher._cluster.ray.available_resources().get("CPU") == 4.0)
    assert runner.run([run]).finished == (run,)
    assert "resuming dmc-a-b_waits_0" in runner.lines
    assert launcher.lines == []  # the folder is shared


def test_a_suite_survives_the_loss_of_a_node(tmp_path, nodes, launcher):
    runner = make_runner(tmp_path, launcher, records="memory://survives/records")
    runs = [run_of("waits-for-go", seed) for seed in range(6)]
    pids = {}

    def lost_while_running():
        # Others may be sent to the lost node before Ray knows; they are not begun there.
        return pids.keys() & {line.split()[1] for line in runner.lines if line.startswith("LOST")}

    def lose_a_node():
        wait(lambda: len(started(runner, runs)) == 4)
        for run in started(runner, runs):
            pids[run.name] = int((runner.folder / run.name / "pid").read_text())
        nodes.remove_node(nodes.second, allow_graceful=False)
        wait(lambda: len(lost_while_running()) == 2)
        wait(lambda: not any(is_alive(pids[name]) for name in lost_while_running()))
        (runner.folder / "go").touch()

    thread = in_the_background(lose_a_node)
    outcome = runner.run(runs, max_seconds=300.0)
    thread.join()
    assert not outcome.failed
    assert sorted(run.name for run in outcome.finished) == sorted(run.name for run in runs)
    assert len(runner.records.load(runs)) == 6
    attempts = {run.name: output(runner, run).count("threads") for run in runs}
    lost = lost_while_running()
    assert attempts == {run.name: 2 if run.name in lost else 1 for run in runs}
    assert all("resumed" in output(runner, run) for run in runs if run.name in lost)
    assert not any(is_alive(pid) for pid in pids.values())


def test_impossible_numbers_are_refused():
    for name, value in (("cpus_per_run", 0.0), ("workers", 0), ("gpus_per_run", 1.5)):
        with pytest.raises(ValueError, match=name):
            RayLauncher("nowhere:1", report=print, **{name: value})


def test_a_folder_that_is_not_shared_is_said(launcher, job_of, monkeypatch):
    monkeypatch.setattr(ray_cluster, "look_for", lambda mark, data, directory: (False, []))
    launcher.check([job_of()])
    assert launcher.lines
    assert "is not shared with 127.0.0.1" in launcher.lines[0]
    assert not launcher.is_shared
