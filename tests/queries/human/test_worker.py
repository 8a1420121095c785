import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import select, update

from pbrl.envs import RenderingUnavailable
from pbrl.queries.human import tables, worker
from pbrl.queries.human.worker import ClipWorker


@pytest.fixture
def make_worker(tmp_path, sqlite_bench):
    def make(**config):
        bench = sqlite_bench(frame_size=(48, 64), **config)
        bench.ask(1)
        with bench.database.writing() as connection:
            connection.execute(update(tables.query).values(is_ready=False))
        return bench, ClipWorker(bench.database, tmp_path / "clips")

    return make


def clips_of(bench):
    with bench.database.reading() as connection:
        return connection.execute(select(tables.clip)).all()


def draw_all(drawer):
    number = drawer.work(threading.Event(), until_idle=True)
    drawer.close()
    return number


def test_queries_without_a_simulator_are_drawn(make_worker, tmp_path):
    bench, drawer = make_worker()
    assert draw_all(drawer) == 2
    for clip in clips_of(bench):
        assert (clip.status, clip.reason) == ("plot", "the study names no environment")
        assert (tmp_path / "clips" / "1" / clip.file).stat().st_size > 1_000
    assert bench.next(bench.invite("ada")) != []


def test_segments_that_do_not_fit_the_environment_are_drawn(make_worker):
    bench, drawer = make_worker(env="gym/Hopper-v5")
    draw_all(drawer)
    assert {clip.status for clip in clips_of(bench)} == {"plot"}
    assert "cannot hold the state" in clips_of(bench)[0].reason


def test_a_film_is_made_where_it_can_be(make_worker, monkeypatch, tmp_path):
    bench, drawer = make_worker(env="gym/Hopper-v5")
    written = []

    def write(path, frames, frames_per_second):
        path.write_bytes(b"film")
        written.append(frames_per_second)

    monkeypatch.setattr(worker, "write_clip", write)
    draw_all(drawer)
    assert {clip.status for clip in clips_of(bench)} == {"ready"}
    assert written == [30, 30]
    assert len(list((tmp_path / "clips" / "1").iterdir())) == 2


def test_without_opengl_segments_are_drawn(make_worker, monkeypatch):
    bench, drawer = make_worker(env="gym/Hopper-v5")

    def write(*_):
        raise RenderingUnavailable("no OpenGL library works here")

    monkeypatch.setattr(worker, "write_clip", write)
    draw_all(drawer)
    assert {clip.reason for clip in clips_of(bench)} == {"no OpenGL library works here"}


def test_a_segment_that_kills_the_renderer_is_drawn(make_worker):
    bench, drawer = make_worker(env="gym/Hopper-v5")
    with bench.database.writing() as connection:
        connection.execute(update(tables.clip).values(attempts=2))
    draw_all(drawer)
    assert {clip.reason for clip in clips_of(bench)} == {
        "the renderer stopped 2 times at this segment"
    }


def test_the_process_ends_when_asked(make_worker, tmp_path):
    bench, _ = make_worker()
    environment = {**os.environ, "PBRL_DATABASE_URL": f"sqlite:///{tmp_path}/study0.db"}
    process = subprocess.Popen(
        [sys.executable, "-m", "pbrl.queries.human.worker", "--folder", str(tmp_path / "clips")],
        env=environment,
    )
    try:
        deadline = time.monotonic() + 120
        while any(clip.status == "waiting" for clip in clips_of(bench)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
