"""A study served by a process of its own, which can be killed and started again."""

import contextlib
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import func, select, update

from labelling.page import RECORDS, update_page
from labelling.programs import boost, kill, start_program
from pbrl.queries.human import (
    Database,
    NewQuery,
    RecordedSegment,
    StudyConfig,
    add_queries,
    create_study,
    invite,
    tables,
)
from pbrl.queries.human.places import StudyPlace
from pbrl.queries.human.serving import CLIPS
from pbrl.training.files import write_json
from pbrl.training.machine import commit, machine, versions

CLIP = "clip.png"
START_SECONDS = 180.0


class ServedStudy:
    """A study in a folder, and its server.

    Nobody draws its clips: `show_everything` says that they are there, and all are one file.

    Args:
        folder: holds the study.
        people: names of annotators.
        config: of the study.
        role: of the annotators.
    """

    def __init__(
        self, folder: Path, people: list[str], config: StudyConfig, role: str = "program"
    ) -> None:
        self.place = StudyPlace(name="bench", studies=folder)
        self.database: Database = self.place.open(create=True)
        with self.database.writing() as connection:
            self.study = create_study(connection, "bench", config)
            self.tokens = {
                name: invite(connection, self.study.id, name, role)[1]  # type: ignore[arg-type]
                for name in people
            }
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: ForkServerProcess | None = None
        clip = self.place.folder / CLIPS / str(self.study.id) / CLIP
        clip.parent.mkdir(parents=True)
        clip.write_bytes(b"\x89PNG\r\n\x1a\n" + os.urandom(60_000))  # as large as a short film

    def ask(self, number: int, num_steps: int = 10) -> None:
        """Add queries of random segments, at once ready to be shown."""
        rng = np.random.default_rng(0)
        size = self.study.config.num_segments
        queries = (
            NewQuery(key=f"query {row}", segments=[_segment(rng, num_steps) for _ in range(size)])
            for row in range(number)
        )
        with self.database.writing() as connection:
            add_queries(connection, self.study, queries)
        self.show_everything()

    def show_everything(self) -> None:
        """Let every query be handed out, as if its clips were drawn."""
        with self.database.writing() as connection:
            waiting = tables.query.c.is_ready.is_(False)
            connection.execute(update(tables.query).where(waiting).values(is_ready=True))
            undrawn = tables.clip.c.status == "waiting"
            drawn = {"status": "plot", "file": CLIP}
            connection.execute(update(tables.clip).where(undrawn).values(**drawn))

    @contextlib.contextmanager
    def showing(self, every: float = 0.1) -> Iterator[None]:
        """Go on showing everything while queries come in."""
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(every):
                with self.database.reading() as connection:
                    rows = select(func.count()).where(tables.query.c.is_ready.is_(False))
                    if not connection.execute(rows).scalar_one():
                        continue
                self.show_everything()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def start(self, *, boosts: bool = False) -> None:
        """Start the server and wait until it answers."""
        words = ["label", "serve", "bench", "--no-draw-clips", "--port", str(self.port)]
        self._process = start_program(*words, "--studies", str(self.place.studies))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.exitcode is not None:
                raise RuntimeError(f"the server ended with {self._process.exitcode}")
            with contextlib.suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(f"{self.url}/join", timeout=5)  # noqa: S310
                if boosts:
                    boost(self._process.pid)
                return
            time.sleep(0.05)
        raise RuntimeError("the server did not start in time")

    @property
    def cpu_seconds(self) -> float:
        """Processor time that the server has taken since it was started."""
        if self._process is None:
            return 0.0
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End the server as a power cut would, as far as a process can."""
        if self._process is not None:
            kill(self._process)
            self._process = None

    def answers(self) -> list[dict[str, Any]]:
        """Return every row of answers, with its query's key."""
        answer, assignment = tables.answer.c, tables.assignment.c
        rows = (
            select(answer.key, answer.value, answer.assignment_id, tables.query.c.key)
            .join_from(tables.answer, tables.assignment, assignment.id == answer.assignment_id)
            .join(tables.query, tables.query.c.id == assignment.query_id)
        )
        with self.database.reading() as connection:
            found = connection.execute(rows).all()
        names = ("key", "value", "assignment", "query")
        return [dict(zip(names, row, strict=True)) for row in found]

    def query_keys(self) -> list[str]:
        """Return the key of every query, in the order of asking."""
        with self.database.reading() as connection:
            rows = select(tables.query.c.key).order_by(tables.query.c.position)
            return list(connection.execute(rows).scalars())

    def close(self) -> None:
        """End the server and close the database."""
        self.kill()
        self.database.close()


def write_record(name: str, output: Path | None, content: Mapping[str, Any]) -> Path:
    """Write what a benchmark found, with where and of what, and into the page if nowhere else."""
    path = output or RECORDS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    surroundings = {
        "load_average": os.getloadavg(),
        "is_idle": os.getloadavg()[0] < os.cpu_count() / 2,  # type: ignore[operator]
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
    }
    write_json(path, {"benchmark": name, **content, **surroundings})
    print(json.dumps(content, indent=2))
    print(f"written to {path}")
    if output is None:
        update_page()
    return path


def _segment(rng: np.random.Generator, num_steps: int) -> RecordedSegment:
    return RecordedSegment(
        observations=rng.normal(size=(num_steps, 3)).astype(np.float32),
        actions=rng.uniform(-1, 1, (num_steps, 1)).astype(np.float32),
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
