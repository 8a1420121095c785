"""Videos of a policy."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from jaxtyping import UInt8

from pbrl.envs import RenderingUnavailable
from pbrl.training.evaluation import MAX_EPISODE_STEPS, Policy, begin_episodes

Frame = UInt8[np.ndarray, "height width 3"]


def record_video(
    act: Policy,
    env: VectorEnv[Any, Any, Any],
    path: Path,
    *,
    num_episodes: int = 1,
    frames_per_second: int = 30,
    frame_skip: int = 1,
    seed: int | None = None,
) -> Path | None:
    """Play episodes in the first sub-environment and write them as one video.

    Args:
        act: the policy.
        env: of `pbrl.envs.make`; it is reset first.
        path: ends in `.mp4` or `.gif`. Where H.264 cannot be encoded a GIF is written instead.
        num_episodes: how many, one after the other.
        frames_per_second: of the video.
        frame_skip: one of so many steps is shown.
        seed: of the environment.

    Returns:
        The file that was written, or None when frames cannot be rendered, with a warning that
        names the system package.
    """
    frames = _play(act, env, num_episodes, frame_skip, seed)
    try:
        first = next(frames)
    except RenderingUnavailable as error:
        warnings.warn(f"no video: {error}", RuntimeWarning, stacklevel=2)
        return None
    return write_frames(path, _chain(first, frames), frames_per_second=frames_per_second)


def write_frames(path: Path, frames: Iterator[Frame], *, frames_per_second: int = 30) -> Path:
    """Write frames of one size to an MP4 (H.264) or GIF and return the file.

    An MP4 becomes a GIF of the same name when no encoder is there.

    Raises:
        ValueError: if the name ends in neither, or there are no frames.
        OSError: if the file cannot be written.
    """
    check_writable(path)
    first = next(frames, None)
    if first is None:
        raise ValueError("there are no frames to write")
    frames = _chain(first, frames)
    if path.suffix == ".mp4" and not _has_encoder():
        path = path.with_suffix(".gif")
        warnings.warn(
            f"no H.264 encoder is here; writing {path.name}", RuntimeWarning, stacklevel=2
        )
    if path.suffix == ".mp4":
        _write_mp4(path, frames, frames_per_second)
    else:
        _write_gif(path, frames, frames_per_second)
    return path


def check_writable(path: Path) -> None:
    """Refuse a place where no video can be written; its folder is made.

    Raises:
        ValueError: if the name says nothing of a known format.
        OSError: if the file cannot be written there.
    """
    check_name(path)
    is_new = not path.exists()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        error.add_note("Choose another place for the video.")
        raise
    if is_new:
        path.unlink()


def check_can_be_filmed(env: VectorEnv[Any, Any, Any]) -> None:
    """Draw the first frame of an episode.

    Raises:
        RenderingUnavailable: if there is none.
    """
    env.reset()
    _first_frame(env)


def check_name(path: Path) -> None:
    """Refuse a name that says nothing of a known format.

    Raises:
        ValueError: if it ends in neither .mp4 nor .gif.
    """
    if path.suffix not in (".mp4", ".gif"):
        raise ValueError(f"a video ends in .mp4 or .gif, got {path.name!r}")


def _play(
    act: Policy, env: VectorEnv[Any, Any, Any], num_episodes: int, frame_skip: int, seed: int | None
) -> Iterator[Frame]:
    """Yield frames; the frame of an episode's last state is lost to the reset in that step."""
    observations, _ = env.reset(seed=seed)
    begin_episodes(act, np.ones(env.num_envs, np.bool_))
    for _ in range(num_episodes):
        for step in range(MAX_EPISODE_STEPS):
            if step % frame_skip == 0:
                yield _first_frame(env)
            with torch.no_grad():
                actions = act(torch.as_tensor(observations))
            is_numpy = isinstance(observations, np.ndarray)
            observations, _, terminated, truncated, _ = env.step(
                actions.cpu().numpy() if is_numpy else actions
            )
            begin_episodes(act, np.asarray(terminated | truncated))
            if bool(terminated[0] | truncated[0]):
                break


def _first_frame(env: VectorEnv[Any, Any, Any]) -> Frame:
    frames = env.render()
    if frames is None:
        raise RenderingUnavailable("the environment gives no frames (render_mode='rgb_array')")
    return np.asarray(frames[0], dtype=np.uint8)


def _chain(first: Frame, rest: Iterator[Frame]) -> Iterator[Frame]:
    yield first
    yield from rest


def _has_encoder() -> bool:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        return False
    return True


def _write_mp4(path: Path, frames: Iterator[Frame], frames_per_second: int) -> None:
    import imageio_ffmpeg

    first = _even(next(frames))
    height, width, _ = first.shape
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=frames_per_second, codec="libx264", macro_block_size=2
    )
    writer.send(None)
    try:
        writer.send(np.ascontiguousarray(first))
        for frame in frames:
            writer.send(np.ascontiguousarray(_even(frame)))
    except OSError as error:  # with the encoder's command and all that it said
        raise OSError(
            f"the encoder of {path} stopped ({str(error).splitlines()[0]}): is the disk full? A "
            "video that ends in .gif needs no encoder"
        ) from error
    finally:
        writer.close()


def _even(frame: Frame) -> UInt8[np.ndarray, "even_height even_width 3"]:
    """Cut a frame to even sides, which H.264's colour format asks for."""
    height, width, _ = frame.shape
    return frame[: height - height % 2, : width - width % 2]


def _write_gif(path: Path, frames: Iterator[Frame], frames_per_second: int) -> None:
    import imageio.v2 as imageio

    milliseconds = 1_000 / frames_per_second
    open_writer: Any = imageio.get_writer
    with open_writer(path, mode="I", duration=milliseconds, loop=0) as writer:
        for frame in frames:
            writer.append_data(frame)
