"""Clips as files that browsers play, step and scrub."""

import os
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from pbrl.queries.human.frames import Frame

# A key frame every few frames lets a browser jump to any step at once; without B-frames the order
# of decoding is that of showing.
OPTIONS = ("-preset", "veryfast", "-crf", "24", "-g", "6", "-bf", "0", "-movflags", "+faststart")


def write_clip(path: Path, frames: Iterable[Frame], frames_per_second: int) -> int:
    """Write frames as H.264 in an MP4, whole or not at all, and return how many there are.

    Raises:
        ValueError: if there are no frames.
        OSError: if the encoder fails.
    """
    import imageio_ffmpeg

    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ValueError("a clip needs at least one frame")
    height, width, _ = first.shape
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    writer = imageio_ffmpeg.write_frames(
        str(partial),
        (width, height),
        fps=frames_per_second,
        codec="libx264",
        macro_block_size=2,
        quality=None,
        output_params=list(OPTIONS),
    )
    number = 0
    try:
        writer.send(None)
        for frame in chain([first], frames):
            writer.send(np.ascontiguousarray(frame))
            number += 1
        writer.close()
        partial.replace(path)
    finally:
        writer.close()
        partial.unlink(missing_ok=True)
    return number
