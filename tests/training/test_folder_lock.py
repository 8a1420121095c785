import sys

import pytest

from pbrl.training.folder_lock import LOCK, give_up, hold, is_held


def test_one_at_a_time_holds_a_folder(tmp_path):
    folder = tmp_path / "run"
    assert not is_held(folder)
    assert not folder.exists()  # asking leaves nothing
    file = hold(folder)
    assert (folder / LOCK).exists()
    assert is_held(folder)
    with pytest.raises(BlockingIOError, match="another process is writing this run"):
        hold(folder)
    file.close()
    assert not is_held(folder)
    hold(folder).close()


@pytest.mark.skipif(sys.platform == "win32", reason="the lock needs flock")
def test_a_lock_that_was_given_up_meanwhile_holds_nothing(tmp_path, monkeypatch):
    import fcntl

    first, real = hold(tmp_path), fcntl.flock

    def flock(file, how):  # the other process gives up between our opening the file and this
        if not first.closed:
            give_up(first, tmp_path)
        return real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    second = hold(tmp_path)
    assert is_held(tmp_path)
    second.close()
    assert not is_held(tmp_path)
