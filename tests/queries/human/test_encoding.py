import imageio_ffmpeg
import numpy as np
import pytest

from pbrl.queries.human.encoding import write_clip


def decode(path):
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    width, height = meta["size"]
    frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]
    return meta, frames


def test_every_step_is_a_frame(tmp_path):
    frames = [np.full((32, 48, 3), 10 * number, np.uint8) for number in range(20)]
    path = tmp_path / "clip.mp4"
    assert write_clip(path, frames, 25) == 20
    meta, decoded = decode(path)
    assert (meta["codec"], meta["fps"], meta["size"]) == ("h264", 25.0, (48, 32))
    assert "yuv420p" in meta["pix_fmt"]
    assert len(decoded) == 20
    for frame, back in zip(frames, decoded, strict=True):
        assert abs(int(back.mean()) - int(frame.mean())) <= 4
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_failure_leaves_nothing_behind(tmp_path):
    def frames():
        yield np.zeros((32, 48, 3), np.uint8)
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write_clip(tmp_path / "clip.mp4", frames(), 25)
    assert list(tmp_path.iterdir()) == []


def test_no_frames_make_no_clip(tmp_path):
    with pytest.raises(ValueError, match="at least one frame"):
        write_clip(tmp_path / "clip.mp4", [], 25)
