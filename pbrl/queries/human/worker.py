"""Draws the clips of studies ahead of the annotators, in a process of its own."""

import argparse
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pbrl.envs import RenderingUnavailable
from pbrl.queries.human.clips import (
    MAX_ATTEMPTS,
    ClaimedClip,
    claim_clip,
    clip_path,
    finish_clip,
    forget_lost_clips,
    some_segments,
)
from pbrl.queries.human.database import Database
from pbrl.queries.human.encoding import write_clip
from pbrl.queries.human.frames import CannotDraw, SegmentRenderer
from pbrl.queries.human.state_plot import Limits, observation_limits, write_plot
from pbrl.queries.human.studies import Study, find_study

IDLE_SECONDS = 0.5
NICENESS = 10
NUM_FOR_LIMITS = 500

log = logging.getLogger(__name__)


class ClipWorker:
    """Draws one clip after the other, as a film or, where that cannot be, as a drawing.

    Args:
        database: of the studies.
        folder: where clips go, one folder for each study.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._studies: dict[int, Study] = {}
        self._renderers: dict[int, SegmentRenderer | str] = {}  # or why there is none
        self._limits: dict[int, Limits] = {}
        self._told: set[tuple[int, str]] = set()

    def work(self, stop: threading.Event, *, until_idle: bool = False) -> int:
        """Draw what is wanted until told to stop, and return how many clips were drawn."""
        number = 0
        while not stop.is_set():
            with self._database.writing() as connection:
                clip = claim_clip(connection, now=time.time())
            if clip is not None:
                self._draw(clip)
                number += 1
            elif until_idle:
                break
            else:
                stop.wait(IDLE_SECONDS)
        return number

    def close(self) -> None:
        """Release the simulators."""
        for renderer in self._renderers.values():
            if isinstance(renderer, SegmentRenderer):
                renderer.close()

    def _draw(self, clip: ClaimedClip) -> None:
        study = self._study(clip.study_id)
        film = f"{clip.digest}.mp4"
        path = clip_path(self._folder, study.id, film)
        path.parent.mkdir(parents=True, exist_ok=True)
        reason = self._film(clip, study, path)
        if reason is None:
            status, name = "ready", film
        else:
            status, name = "plot", f"{clip.digest}.png"
            limits = self._limits_of(study)
            write_plot(path.with_name(name), clip.segment, limits, study.config.frame_size)
            if (study.id, reason) not in self._told:
                self._told.add((study.id, reason))
                log.info("study %s has drawings in place of films: %s", study.name, reason)
        with self._database.writing() as connection:
            finish_clip(connection, clip, status, name, reason or "")  # type: ignore[arg-type]

    def _film(self, clip: ClaimedClip, study: Study, path: Path) -> str | None:
        """Write a film and return None, or why there can be none."""
        if path.exists():
            return None
        if clip.attempts >= MAX_ATTEMPTS:
            return f"the renderer stopped {clip.attempts} times at this segment"
        renderer = self._renderer(study)
        if isinstance(renderer, str):
            return renderer
        try:
            write_clip(path, renderer.frames(clip.segment), study.config.frames_per_second)
        except (CannotDraw, RenderingUnavailable, NotImplementedError, ValueError) as error:
            return str(error)
        return None

    def _renderer(self, study: Study) -> SegmentRenderer | str:
        if study.id not in self._renderers:
            config = study.config
            renderer: SegmentRenderer | str = "the study names no environment"
            if config.env is not None:
                try:
                    renderer = SegmentRenderer(config.env, config.frame_size, config.camera)
                except (ValueError, ImportError, RenderingUnavailable) as error:
                    renderer = str(error)
            self._renderers[study.id] = renderer
        return self._renderers[study.id]

    def _study(self, study_id: int) -> Study:
        if study_id not in self._studies:
            with self._database.reading() as connection:
                self._studies[study_id] = find_study(connection, study_id)
        return self._studies[study_id]

    def _limits_of(self, study: Study) -> Limits:
        if study.id not in self._limits:
            with self._database.reading() as connection:
                segments = some_segments(connection, study.id, NUM_FOR_LIMITS)
                self._limits[study.id] = observation_limits(segments)
        return self._limits[study.id]


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw clips until the process is asked to end, or its parent is gone."""
    parser = argparse.ArgumentParser(prog="pbrl.queries.human.worker")
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args(arguments)
    logging.basicConfig(format="clips: %(message)s")
    log.setLevel(logging.INFO)
    os.nice(NICENESS)  # whoever labels comes first
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_stop_with_parent, args=(stop, os.getppid()), daemon=True).start()
    # The address may hold a password, so it comes by the environment and not by the command line.
    database = Database(os.environ["PBRL_DATABASE_URL"])
    with database.writing() as connection:
        forget_lost_clips(connection, options.folder)
    worker = ClipWorker(database, options.folder)
    try:
        worker.work(stop)
    finally:
        worker.close()
        database.close()


def _stop_with_parent(stop: threading.Event, parent: int) -> None:
    while os.getppid() == parent and not stop.wait(1.0):
        pass
    stop.set()


if __name__ == "__main__":
    main()
