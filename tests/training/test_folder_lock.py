import pytest

from pbrl.training.folder_lock import LOCK, hold, is_held


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
