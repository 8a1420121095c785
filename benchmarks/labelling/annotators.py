"""Programs that label over HTTP in threads, remember what was acknowledged, and never give up."""

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from pbrl.queries.human.client import LabellingClient, Task, Value
from pbrl.queries.human.http import Refused, Retries, Unreachable

PATIENT = Retries(attempts=4, first_pause=0.05, longest_pause=0.5, timeout=10.0)


class Annotators:
    """One thread for each token; use it as a context manager.

    Args:
        url: of the server.
        tokens: of the annotators.
        judge: says what is better.
        think: longest seconds between seeing a query and answering it.
        doubles: share of the answers that are sent twice at once, as by a double click.
    """

    def __init__(
        self,
        url: str,
        tokens: Mapping[str, str],
        judge: Callable[[LabellingClient, Task], Value],
        *,
        think: float = 0.05,
        doubles: float = 0.2,
    ) -> None:
        self.acknowledged: dict[str, Value] = {}  # value about the segments as shown, by key
        self.errors: list[str] = []
        self._judge, self._think, self._doubles = judge, think, doubles
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(
                target=self._work, args=(LabellingClient(url, token, PATIENT), seed), daemon=True
            )
            for seed, token in enumerate(tokens.values())
        ]

    def __enter__(self) -> "Annotators":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    @property
    def num_acknowledged(self) -> int:
        """Answers that the server said it has."""
        return len(self.acknowledged)

    def _work(self, client: LabellingClient, seed: int) -> None:
        rng = random.Random(seed)
        while not self._stop.is_set():
            tasks = self._insist(lambda: client.next(3)[0]) or []
            rng.shuffle(tasks)  # out of order
            for task in tasks:
                self._label(client, task, rng)
            if not tasks:
                self._stop.wait(0.05)

    def _label(self, client: LabellingClient, task: Task, rng: random.Random) -> None:
        value = self._insist(lambda: (self._judge(client, task),))
        if value is None:
            return
        self._stop.wait(rng.random() * self._think)
        key = uuid.uuid4().hex
        sends = [lambda: client.answer(task, value[0], key=key, seconds=1.0)]
        if rng.random() < self._doubles:
            other = threading.Thread(target=self._insist, args=(sends[0],))
            other.start()
            self._send(sends[0], key, value[0])
            other.join()
        else:
            self._send(sends[0], key, value[0])

    def _send(self, send: Callable[[], bool], key: str, value: Value) -> None:
        if self._insist(send) is not None:
            with self._lock:
                self.acknowledged[key] = value

    def _insist(self, request: Callable[[], Any]) -> Any:
        """Repeat a request until it is answered; None when there is an end to labelling."""
        while not self._stop.is_set():
            try:
                return request()
            except Unreachable:
                time.sleep(0.05)  # the server is dead at the moment
            except Refused as error:
                self.errors.append(str(error))
                return None
        return None
