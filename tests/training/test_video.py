import gymnasium
import imageio.v2 as imageio
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from pbrl.envs import RenderingUnavailable
from pbrl.training import video
from pbrl.training.video import check_writable, record_video, write_frames


class Blinking(gymnasium.Env):
    """Four steps; the frame says how many were taken."""

    metadata = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"
    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(1, np.float32), 0.0, self.steps == 4, False, {}

    def render(self):
        return np.full((33, 49, 3), 50 * self.steps, np.uint8)


def blinking():
    return SyncVectorEnv([Blinking], autoreset_mode=AutoresetMode.SAME_STEP)


def still(observations):
    return torch.zeros(len(observations), 1)


def brightness(path):
    return [float(frame.mean()) for frame in imageio.mimread(path)]


def test_a_video_is_h264_and_shows_each_step_of_each_episode(tmp_path):
    path = record_video(still, blinking(), tmp_path / "new" / "a.mp4", num_episodes=2)
    assert path == tmp_path / "new" / "a.mp4"
    reader = imageio.get_reader(path)
    assert reader.get_meta_data()["codec"] == "h264"
    assert reader.get_meta_data()["size"] == (48, 32)
    np.testing.assert_allclose(brightness(path), [0, 50, 100, 150] * 2, atol=3)


def test_frames_can_be_skipped(tmp_path):
    path = record_video(still, blinking(), tmp_path / "a.mp4", frame_skip=2)
    np.testing.assert_allclose(brightness(path), [0, 100], atol=3)


def test_without_an_encoder_it_is_a_gif(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_has_encoder", lambda: False)
    with pytest.warns(RuntimeWarning, match=r"writing a\.gif"):
        path = record_video(still, blinking(), tmp_path / "a.mp4")
    assert path == tmp_path / "a.gif"
    assert len(brightness(path)) == 4


def test_without_opengl_there_is_a_warning_and_no_video(tmp_path, monkeypatch):
    def render(self):
        raise RenderingUnavailable("install libosmesa6")

    monkeypatch.setattr(Blinking, "render", render)
    with pytest.warns(RuntimeWarning, match=r"no video: .*libosmesa6"):
        assert record_video(still, blinking(), tmp_path / "a.mp4") is None
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused_before_any_frame(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    for name in ("folder.mp4", "file/a.mp4"):
        with pytest.raises(OSError, match=r"Is a directory|exists|Not a directory") as caught:
            write_frames(tmp_path / name, (pytest.fail("drawn") for _ in range(1)))
        assert caught.value.__notes__ == ["Choose another place for the video."]
    check_writable(tmp_path / "new" / "b.mp4")
    assert not (tmp_path / "new" / "b.mp4").exists()


def test_an_encoder_that_stops_is_one_line(tmp_path, monkeypatch):
    def write_frames_of_ffmpeg(*words, **options):
        yield
        yield
        raise OSError("Broken pipe\n\nFFMPEG COMMAND:\nffmpeg -y\n\nFFMPEG STDERR OUTPUT:\n")

    monkeypatch.setattr("imageio_ffmpeg.write_frames", write_frames_of_ffmpeg)
    with pytest.raises(OSError, match=r"encoder of .*a.mp4 stopped \(Broken pipe\)") as caught:
        record_video(still, blinking(), tmp_path / "a.mp4")
    assert "\n" not in str(caught.value)


def test_bad_names_and_no_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"\.mp4 or \.gif"):
        write_frames(tmp_path / "a.avi", iter([]))
    with pytest.raises(ValueError, match="no frames"):
        write_frames(tmp_path / "a.mp4", iter([]))
