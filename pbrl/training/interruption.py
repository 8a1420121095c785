"""Stopping a run from outside without losing anything."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

STANDARD_ERROR = 2
STOPPING = b"\nstopping: the run is saved at the next point where it can go on from; "
AT_ONCE = b"a second Ctrl-C ends it at once, and --resume goes on from the checkpoint before\n"


class Interrupted(KeyboardInterrupt):
    """The run was stopped from outside; its checkpoint is written."""


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and termination into a question that the loop asks between two steps.

    The first is answered on the standard error at once, as the next step may be long in coming.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if asked and number == signal.SIGINT:  # a second Ctrl-C does not wait
            raise KeyboardInterrupt
        if not asked:
            with suppress(OSError):  # past Python's own buffers: it may be writing to them just now
                os.write(STANDARD_ERROR, STOPPING + AT_ONCE)
        asked.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread hears signals
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
