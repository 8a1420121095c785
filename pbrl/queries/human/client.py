"""A program that labels, over HTTP: the JSON interface of `pbrl label serve` in Python.

Only the standard library is needed. Every request is tried again when the server does not answer,
asks to wait, or is starting anew; an answer is recorded once however often it is sent.
"""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pbrl.queries.human.http import Retries, Sent, send

Value = Mapping[str, Any] | None
"""An answer about the segments in the order shown, see `pbrl.queries.human.kinds`; None for "can't
tell". `{"label": 1}` says that the second segment is better."""


@dataclass(frozen=True, kw_only=True)
class ShownClip:
    """A segment to look at.

    Attributes:
        clip: path of its film or drawing, for `LabellingClient.clip`.
        is_film: whether it is a film (MP4) or a drawing (PNG).
        num_steps: how long it is.
    """

    clip: str
    is_film: bool
    num_steps: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """A query to answer.

    Attributes:
        assignment: its number, for the answer.
        segments: in the order shown.
    """

    assignment: int
    segments: tuple[ShownClip, ...]


class LabellingClient:
    """Labels in one study.

    Args:
        url: of the server, such as http://127.0.0.1:8000.
        token: of a program, from `pbrl label study invite NAME PROGRAM --role program`.
        retries: how often and how long to try.
    """

    def __init__(self, url: str, token: str, retries: Retries | None = None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._retries = retries or Retries()

    def study(self) -> dict[str, Any]:
        """Return what an annotator should know: kind, task, instructions and so on."""
        found: dict[str, Any] = self._json("GET", "/api/study")
        return found

    def next(self, number: int = 1) -> tuple[list[Task], str]:
        """Return queries to answer, and where there is none the reason.

        The reason is "open", or "waiting" (more may come), "paused", "closed" or "finished": all is
        answered, and no run that learns from the study asks any more.
        """
        found = self._json("POST", "/api/next", {"number": number})
        tasks = [
            Task(
                assignment=task["assignment"],
                segments=tuple(
                    ShownClip(
                        clip=one["clip"],
                        is_film=one["media"] == "film",
                        num_steps=one["num_steps"],
                    )
                    for one in task["segments"]
                ),
            )
            for task in found["tasks"]
        ]
        return tasks, found["state"]

    def numbers(self, task: Task) -> list[dict[str, list[list[float]]]]:
        """Return observations and actions of each segment, in the order shown."""
        path = f"/api/assignments/{task.assignment}/segments"
        found: list[dict[str, list[list[float]]]] = self._json("GET", path)
        return found

    def clip(self, segment: ShownClip) -> bytes:
        """Return the film or drawing of a segment."""
        return self._send("GET", segment.clip).body

    def answer(
        self, task: Task, value: Value, *, key: str | None = None, seconds: float | None = None
    ) -> bool:
        """Record an answer, and return whether it is new; once acknowledged it is never lost.

        Args:
            task: what is answered.
            value: see `Value`.
            key: names the answer; a program that may die between sending and hearing back keeps it
                and sends the same again.
            seconds: how long the program looked.
        """
        body = {
            "assignment": task.assignment,
            "value": None if value is None else dict(value),
            "key": key or uuid.uuid4().hex,
            "seconds": seconds,
        }
        return bool(self._json("POST", "/api/answers", body)["recorded"] == "new")

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        return json.loads(self._send(method, path, body).body)

    def _send(self, method: str, path: str, body: Any = None) -> Sent:
        return send(method, self._url + path, body, headers=self._headers, retries=self._retries)


Judge = Callable[[LabellingClient, Task], Value]
"""Looks at a query and says what is better."""


def label_until_finished(
    client: LabellingClient,
    judge: Judge,
    *,
    idle_seconds: float = 2.0,
    is_stopped: Callable[[], bool] = lambda: False,
    stays: bool = False,
) -> int:
    """Answer queries as they come and return how many.

    Goes on while a live run may ask more, one that was stopped included, as it may be resumed. Ends
    when all is answered and the runs have spent their budgets or are over, when the study is
    closed, or when told to.

    Args:
        client: of the study.
        judge: says what is better.
        idle_seconds: time between two looks while there is nothing to do.
        is_stopped: asked before each query.
        stays: wait for further runs, until the study is closed.
    """
    ends = ("closed",) if stays else ("closed", "finished")
    number = 0
    while not is_stopped():
        tasks, state = client.next()
        if state in ends:
            break
        for task in tasks:
            start = time.monotonic()
            value = judge(client, task)
            number += client.answer(task, value, seconds=time.monotonic() - start)
        if not tasks:
            time.sleep(idle_seconds)
    return number
