import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pbrl.training import machine
from pbrl.training.run_folder import RunFolder, is_run, read_config

HOLD = """
import sys
from pathlib import Path
from pbrl.training.run_folder import RunFolder
with RunFolder(Path(sys.argv[1]), {"seed": 0}, resume=True):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_new_run_writes_what_it_was_started_with(tmp_path):
    path = tmp_path / "deep" / "run"
    with RunFolder(path, {"seed": 0, "sizes": (1, 2)}) as folder:
        assert folder.result == path / "result.json"
    assert read_config(path) == {"seed": 0, "sizes": [1, 2]}
    record = json.loads((path / "versions.json").read_text())
    assert record["versions"]["python"] == platform.python_version()
    assert {"pbrl", "torch", "numpy", "mujoco"} <= set(record["versions"])
    assert set(record["machine"]) == {"cpu", "cores", "gpu"}
    assert record["machine"]["cores"] >= 1


def fail(path, *, begins=False, resume=False):
    """Fail as a run does whose logs are open."""
    with RunFolder(path, {"seed": 0}, resume=resume) as folder:
        for name in ("metrics.csv", "events.out.tfevents.1.host.2"):
            (path / name).touch()
        if begins:
            folder.begin()
        raise ValueError("failed")


def test_a_run_refused_before_its_first_step_leaves_the_folder_free(tmp_path):
    with pytest.raises(ValueError, match="failed"):
        fail(tmp_path / "run")
    assert not is_run(tmp_path / "run")
    RunFolder(tmp_path / "run", {"seed": 1}).close()
    assert read_config(tmp_path / "run") == {"seed": 1}


def test_a_refused_run_leaves_nothing_that_it_made(tmp_path):
    (tmp_path / "runs").mkdir()
    for path in (tmp_path / "runs" / "deep" / "run", tmp_path / "runs"):
        with pytest.raises(ValueError, match="failed"):
            fail(path)
        assert [one.name for one in tmp_path.rglob("*")] == ["runs"]
    (tmp_path / "runs" / "task").mkdir()
    (tmp_path / "runs" / "task" / "other-0").touch()
    with pytest.raises(ValueError, match="failed"):
        fail(tmp_path / "runs" / "task" / "run")
    assert sorted(one.name for one in tmp_path.rglob("*")) == ["other-0", "runs", "task"]


def test_a_run_that_has_begun_stays_whatever_happens(tmp_path):
    with pytest.raises(ValueError, match="failed"):
        fail(tmp_path, begins=True)
    assert is_run(tmp_path)
    with pytest.raises(ValueError, match="failed"):
        fail(tmp_path, resume=True)
    assert is_run(tmp_path)


def test_nothing_written_names_the_machine_or_a_place_on_it(tmp_path):
    with RunFolder(tmp_path / "run", {}):
        text = (tmp_path / "run" / "versions.json").read_text()
    assert platform.node() not in text
    assert str(tmp_path) not in text
    assert str(Path(sys.prefix)) not in text


def test_an_existing_run_is_not_overwritten(tmp_path):
    RunFolder(tmp_path, {"seed": 0}).close()
    with pytest.raises(FileExistsError, match="already holds a run"):
        RunFolder(tmp_path, {"seed": 0})


def test_a_folder_of_something_else_is_not_used(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match=r"thesis\.tex"):
        RunFolder(tmp_path, {})


def test_a_run_killed_before_it_began_starts_anew(tmp_path):
    for name in (".lock", "versions.json", ".config.json.17.tmp"):
        (tmp_path / name).touch()
    RunFolder(tmp_path, {}).close()
    assert is_run(tmp_path)


def test_resume_takes_the_same_configuration_only(tmp_path):
    RunFolder(tmp_path, {"seed": 0, "sac": {"width": 256}}).close()
    RunFolder(tmp_path, {"seed": 0, "sac": {"width": 256}}, resume=True).close()
    with pytest.raises(ValueError, match=r"sac\.width: 256 -> 64"):
        RunFolder(tmp_path, {"seed": 0, "sac": {"width": 64}}, resume=True)


@dataclass(frozen=True)
class _Config:
    seed: int = 0
    inner: "_Inner" = field(default_factory=lambda: _Inner())


@dataclass(frozen=True)
class _Inner:
    width: int = 256
    newer: str = "as before"


def test_a_run_of_an_earlier_version_goes_on_if_what_is_new_is_as_before(tmp_path):
    stored = {"seed": 0, "inner": {"width": 256}}
    RunFolder(tmp_path, stored).close()
    with RunFolder(tmp_path, _Config(), resume=True) as folder:
        assert folder.config == stored  # as its checkpoints say
    with pytest.raises(ValueError, match=r"inner\.newer: \(nothing\) -> "):
        RunFolder(tmp_path, _Config(inner=_Inner(newer="otherwise")), resume=True)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match="no run to resume"):
        RunFolder(tmp_path / "absent", {}, resume=True)
    with pytest.raises(FileNotFoundError, match="not the folder of a run"):
        read_config(tmp_path)


def test_a_refused_folder_is_released(tmp_path):
    RunFolder(tmp_path, {"seed": 0}).close()
    with pytest.raises(ValueError, match="seed"):
        RunFolder(tmp_path, {"seed": 1}, resume=True)
    RunFolder(tmp_path, {"seed": 0}, resume=True).close()


@pytest.mark.skipif(sys.platform == "win32", reason="the lock needs flock")
def test_two_processes_do_not_write_one_run(tmp_path):
    RunFolder(tmp_path, {"seed": 0}).close()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError, match="another process"):
        RunFolder(tmp_path, {"seed": 0}, resume=True)
    process.kill()
    process.communicate()
    RunFolder(tmp_path, {"seed": 0}, resume=True).close()


def test_an_unwritable_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write the run folder"):
        RunFolder(tmp_path / "file" / "run", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot write the run folder"):
        RunFolder(tmp_path / "run", {})


def test_the_commit_is_that_of_the_package_or_none(monkeypatch, tmp_path):
    found = machine.commit()
    assert found is None or len(found.removesuffix("+changes")) == 40
    (tmp_path / "pbrl").mkdir()
    (tmp_path / "pbrl" / "__init__.py").touch()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(machine.pbrl, "__file__", str(tmp_path / "pbrl" / "__init__.py"))
    assert machine.commit() is None  # lies in a repository that does not track it
