"""Let fifty simulated annotators label at once, and measure how long each answer takes.

    python benchmarks/load_labelling.py --seconds 120

Every annotator behaves as the page does: it loads the two clips of a query, thinks, sends an
answer and gets the next query with the same request. Prints labels per second and the time from
sending an answer until it is acknowledged, which is when it lies on the disk; then counts in the
database that none is missing or there twice. Writes a record.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import tyro
from labelling.programs import boost
from labelling.served_study import ServedStudy, write_record

from pbrl.queries.human import StudyConfig

AIM_MILLISECONDS = 200.0


class Page:
    """What a browser is to the server: one connection that stays open."""

    def __init__(self, url: str, token: str) -> None:
        self._address = urlsplit(url)
        self._token = token
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def request(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Return the status and the body of a response."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                self._address.hostname, self._address.port
            )
        assert self._reader is not None  # opened with the writer
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        status = int((await self._reader.readline()).split()[1])
        length = 0
        while (line := await self._reader.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, await self._reader.readexactly(length)


class Annotator:
    """Labels for some time and keeps a record of it."""

    def __init__(self, url: str, token: str, seed: int, think: float) -> None:
        self._page = Page(url, token)
        self._rng = random.Random(seed)
        self._think = think
        self._name = f"a{seed}"
        self.keys: list[str] = []
        self.milliseconds: list[float] = []
        self.statuses: Counter[int] = Counter()

    async def label(self, until: float) -> None:
        """Label until that time of the clock."""
        await asyncio.sleep(self._rng.random() * self._think)  # nobody comes at the same moment
        tasks: list[Any] = []
        while time.monotonic() < until:
            if not tasks:
                _, body = await self._page.request("POST", "/api/next", {"number": 2})
                tasks = json.loads(body).get("tasks", [])
                if not tasks:
                    await asyncio.sleep(0.5)
                    continue
            tasks = await self._answer(tasks[0])

    async def _answer(self, task: Mapping[str, Any]) -> list[Any]:
        """Look at a query, answer it, and return what comes next."""
        for segment in task["segments"]:
            await self._page.request("GET", segment["clip"])
        await asyncio.sleep(self._rng.uniform(0.5, 1.5) * self._think)
        key = f"{self._name}-{task['assignment']}"
        body = {
            "assignment": task["assignment"],
            "value": {"label": self._rng.choice([0, 0.5, 1])},
            "key": key,
            "seconds": 1.0,
            "next": 2,
        }
        start = time.perf_counter()
        status, content = await self._page.request("POST", "/api/answers", body)
        self.milliseconds.append(1e3 * (time.perf_counter() - start))
        self.statuses[status] += 1
        if status != 200:
            return []
        self.keys.append(key)
        return list(json.loads(content)["next"]["tasks"])


def main(
    *,
    seconds: float = 120.0,
    annotators: int = 50,
    think: float = 1.0,
    queries: int = 5_000,
    labels_per_query: int = 3,
    boosts: bool = False,
    output: Path | None = None,
) -> None:
    """Label, count, print, and write the record.

    Args:
        seconds: how long they label.
        annotators: how many.
        think: mean seconds that each looks at a query; people take several.
        queries: of the study.
        labels_per_query: of the study.
        boosts: let the server and this program come before others on a machine that is busy.
        output: JSON file; benchmarks/results/labelling/load.json when not given.
    """
    if boosts:
        boost(os.getpid())
    with tempfile.TemporaryDirectory() as folder:
        people = [f"annotator {number}" for number in range(annotators)]
        config = StudyConfig(labels_per_query=labels_per_query)
        served = ServedStudy(Path(folder), people, config, role="annotator")
        served.ask(queries)
        served.start(boosts=boosts)
        crowd = [
            Annotator(served.url, token, seed, think)
            for seed, token in enumerate(served.tokens.values())
        ]
        start, cpu = time.monotonic(), served.cpu_seconds
        asyncio.run(_label(crowd, start + seconds))
        elapsed = time.monotonic() - start
        found = summary(crowd, served, elapsed)
        found["server_cpu_milliseconds_per_label"] = round(
            1e3 * (served.cpu_seconds - cpu) / max(1, found["labels"]), 1
        )
        served.close()
    options = {
        "annotators": annotators,
        "seconds": seconds,
        "think_seconds": think,
        "queries": queries,
        "labels_per_query": labels_per_query,
        "comes_before_others": boosts,
        "running_beside_others": _num_busy(),
    }
    write_record("load", output, {**options, **found})
    if found["lost"] or found["twice"]:
        sys.exit("labels were lost, or there twice")


async def _label(crowd: list[Annotator], until: float) -> None:
    await asyncio.gather(*(one.label(until) for one in crowd))


def summary(crowd: list[Annotator], served: ServedStudy, elapsed: float) -> dict[str, Any]:
    """Return the speed, and what became of the answers."""
    times = np.concatenate([one.milliseconds for one in crowd])
    stored = Counter(row["key"] for row in served.answers())
    keys = [key for one in crowd for key in one.keys]
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "labels": len(keys),
        "labels_per_second": round(len(keys) / elapsed, 1),
        "p50_milliseconds": round(float(p50), 1),
        "p99_milliseconds": round(float(p99), 1),
        "worst_milliseconds": round(float(times.max()), 1),
        "aim_p99_milliseconds": AIM_MILLISECONDS,
        "is_met": bool(p99 < AIM_MILLISECONDS),
        "statuses": {str(status): n for status, n in sum_of(crowd).items()},
        "lost": sum(key not in stored for key in keys),
        "twice": sum(number > 1 for number in stored.values()),
    }


def sum_of(crowd: list[Annotator]) -> Counter[int]:
    """Return how often each status came."""
    return sum((one.statuses for one in crowd), Counter())


def _num_busy() -> int:
    """Return how many programs want the processor at present, those that wait included."""
    found = subprocess.run(["ps", "-eo", "stat="], capture_output=True, text=True, check=False)  # noqa: S607
    return sum(line.startswith("R") for line in found.stdout.splitlines())


if __name__ == "__main__":
    tyro.cli(main)
