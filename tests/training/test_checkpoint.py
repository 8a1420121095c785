import errno
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from pbrl.training import checkpoint
from pbrl.training.checkpoint import (
    CheckpointMismatchError,
    DamagedCheckpointError,
    has_checkpoint,
    load_checkpoint,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
)

FINGERPRINT = {"config": {"seed": 0, "sac": {"width": 256}}, "env": "dmc/walker-walk"}

SAVE_FOR_EVER = """
import sys
from pathlib import Path
import torch
from pbrl.training.checkpoint import save_checkpoint
for step in range(int(sys.argv[2]), 10**6):
    state = {"values": torch.full((500_000,), float(step)), "step": step}
    save_checkpoint(Path(sys.argv[1]), state, step=step, fingerprint={})
    print(step, flush=True)
"""


def save(folder, step, fingerprint=FINGERPRINT, **options):
    state = {"values": torch.full((100,), float(step))}
    return save_checkpoint(folder, state, step=step, fingerprint=fingerprint, **options)


def value(folder):
    state, step = load_checkpoint(folder, FINGERPRINT)
    assert (state["values"] == step).all()
    return step


def damage(path, name="state.safetensors"):
    content = bytearray((path / name).read_bytes())
    content[0] ^= 1
    (path / name).write_bytes(content)


def test_the_newest_is_loaded_and_only_the_newest_are_kept(tmp_path):
    for step in (1_000, 12_000, 3_000_000_000):
        path = save(tmp_path, step)
    assert path.name == "step-3000000000"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["step-000012000", "step-3000000000"]
    assert value(tmp_path) == 3_000_000_000


def test_saving_a_step_again_replaces_it(tmp_path):
    save(tmp_path, 5)
    save_checkpoint(tmp_path, {"new": True}, step=5, fingerprint=FINGERPRINT, keep=1)
    assert [item.name for item in tmp_path.iterdir()] == ["step-000000005.1"]
    assert load_checkpoint(tmp_path, FINGERPRINT) == ({"new": True}, 5)


def names(folder):
    return sorted(item.name for item in folder.iterdir())


def test_those_after_an_error_never_push_out_the_newest_that_is_not(tmp_path):
    for step in (3, 4):
        save(tmp_path, step)
    for step in (5, 5, 5, 6):
        save(tmp_path, step, after_error=True)
    assert names(tmp_path) == ["step-000000004", "step-000000006-error"]
    assert value(tmp_path) == 6
    newest, sound = (newest_checkpoint(tmp_path, after_error=either) for either in (True, False))
    assert (newest.name, sound.name) == ("step-000000006-error", "step-000000004")
    for step in (7, 8):
        save(tmp_path, step)
    assert names(tmp_path) == ["step-000000007", "step-000000008"]


def test_one_after_an_error_replaces_its_like_and_no_other_at_its_step(tmp_path):
    save(tmp_path, 4)
    for _ in range(3):
        save(tmp_path, 4, keep=1, after_error=True)
    assert names(tmp_path) == ["step-000000004", "step-000000004.3-error"]


def test_a_step_saved_again_leaves_the_step_before(tmp_path):
    for step in (3, 4, 4, 4):
        save(tmp_path, step)
    assert names(tmp_path) == ["step-000000003", "step-000000004.2"]


def test_nothing_to_load(tmp_path):
    assert newest_checkpoint(tmp_path / "absent") is None
    assert not has_checkpoint(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        load_checkpoint(tmp_path / "absent", None)


def test_one_checkpoint_is_read_by_its_own_path(tmp_path):
    paths = [save(tmp_path, step) for step in (10, 20)]
    assert [read_checkpoint(path)[1] for path in paths] == [10, 20]
    damage(paths[0])
    with pytest.raises(DamagedCheckpointError, match="step-000000010"):
        read_checkpoint(paths[0])
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "step-000000030")


@pytest.mark.parametrize("name", ["state.safetensors", "state.json", "SHA256SUMS"])
def test_a_damaged_one_gives_way_to_the_previous(tmp_path, name):
    save(tmp_path, 1)
    damage(save(tmp_path, 2), name)
    with pytest.warns(RuntimeWarning, match="step-000000002"):
        assert value(tmp_path) == 1


def test_a_missing_file_gives_way_to_the_previous(tmp_path):
    save(tmp_path, 1)
    (save(tmp_path, 2) / "state.json").unlink()
    with pytest.warns(RuntimeWarning):
        assert value(tmp_path) == 1


def test_when_all_are_damaged_it_says_so(tmp_path):
    damage(save(tmp_path, 1))
    with pytest.warns(RuntimeWarning), pytest.raises(DamagedCheckpointError, match="none of the 1"):
        load_checkpoint(tmp_path, FINGERPRINT)


def test_another_configuration_is_refused_field_by_field(tmp_path):
    save(tmp_path, 1)
    other = {"config": {"seed": 1, "sac": {"width": 256}}, "env": "dmc/walker-run"}
    with pytest.raises(CheckpointMismatchError) as caught:
        load_checkpoint(tmp_path, other)
    assert "config.seed: 0 -> 1" in str(caught.value)
    assert 'env: "dmc/walker-walk" -> "dmc/walker-run"' in str(caught.value)
    assert "width" not in str(caught.value)
    assert load_checkpoint(tmp_path, None)[1] == 1


@pytest.mark.parametrize("name", ["package", "format"])
def test_another_version_is_refused(tmp_path, monkeypatch, name):
    save(tmp_path, 1)
    if name == "package":
        monkeypatch.setattr(checkpoint.pbrl, "__version__", "99.0")
    else:
        monkeypatch.setattr(checkpoint, "FORMAT_VERSION", 99)
    with pytest.raises(CheckpointMismatchError, match=f"{name}: .* -> .*99"):
        load_checkpoint(tmp_path, FINGERPRINT)


@pytest.mark.parametrize("broken", ["save_file", "_sync"])
def test_a_full_disk_leaves_the_previous_one(tmp_path, monkeypatch, broken):
    save(tmp_path, 1)

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, broken, fail)
    with pytest.raises(OSError, match=r"disk is full.*step 1 is intact"):
        save(tmp_path, 2)
    assert [item.name for item in tmp_path.iterdir()] == ["step-000000001"]
    assert value(tmp_path) == 1


def test_keep_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="keep"):
        save(tmp_path, 1, keep=0)


def test_the_checksums_are_those_of_sha256sum(tmp_path):
    path = save(tmp_path, 1)
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("sha256sum is not installed")
    subprocess.run([program, "--check", "--quiet", "SHA256SUMS"], cwd=path, check=True)


def test_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    done = -1
    for pause in (0.0, 0.002, 0.005, 0.009):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path), str(done + 1)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(5):
            done = int(process.stdout.readline())
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
        done = int(rest[-1]) if rest else done
        state, step = load_checkpoint(tmp_path, {})
        assert step >= done
        assert state["step"] == step
        assert (state["values"] == step).all()
        done = step
    save_checkpoint(tmp_path, {}, step=done + 1, fingerprint={})
    assert len(list(tmp_path.iterdir())) == 2  # leftovers are gone


def test_a_large_state_is_quick(tmp_path):
    state = {"replay": torch.zeros(25_000_000), "targets": torch.zeros(25_000_000)}
    start = time.perf_counter()
    save_checkpoint(tmp_path, state, step=1, fingerprint={})
    # 200 MB; 0.3 to 0.5 s on an idle laptop-sized machine.
    assert time.perf_counter() - start < 10.0
