from pathlib import Path

import pytest

from pbrl.training.launchers import Ending, Job
from pbrl.training.launchers.local import LocalLauncher, check_gpus_per_run, gpu_shares


def test_there_is_at_least_one_worker():
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        LocalLauncher(0)


def test_runs_spread_over_the_gpus_before_they_share_one():
    assert gpu_shares(["0", "1"], 0.5) == ["0", "1", "0", "1"]
    assert gpu_shares(["0"], 0.1) == ["0"] * 10
    assert gpu_shares(["0", "1", "2"], 1.0) == ["0", "1", "2"]
    assert gpu_shares(["0", "1", "2"], 2.0) == ["0,1"]
    assert gpu_shares(["0"], 2.0) == []


@pytest.mark.parametrize("number", [-0.5, 1.5])
def test_a_fraction_of_a_gpu_lies_between_0_and_1(number):
    with pytest.raises(ValueError, match=rf"gpus_per_run must lie .* got {number}"):
        check_gpus_per_run(number)


def test_gpus_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(ValueError, match="this machine has 0 GPUs .* 0.5 asks for more"):
        LocalLauncher(1, gpus_per_run=0.5)


def test_a_run_sees_its_share_of_the_gpus(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    seen = []

    class Process:
        def __init__(self, job, environment):
            seen.append(environment["CUDA_VISIBLE_DEVICES"])
            self.is_over = self.is_resumed = False

        def poll(self):
            return Ending(how="complete") if self.is_over else None

        def kill(self):
            self.is_over = True

        progress = ask_to_stop = poll

    monkeypatch.setattr("pbrl.training.launchers.local.RunProcess", Process)
    launcher = LocalLauncher(8, gpus_per_run=1.0)
    assert launcher.num_places() == 2
    job = Job(name="a", folder=Path("a"), start=(), resume=())
    first = launcher.launch(job)
    launcher.launch(job)
    first.kill()
    launcher.launch(job)
    assert seen == ["4", "7", "4"]
    launcher.close()
