"""Programs in processes of their own that start at once, so that they can die often.

They are forked from a process that has imported everything and opened nothing. To whoever talks to
them they are what the command line starts: the same functions, other processes.
"""

import contextlib
import multiprocessing
import os
from multiprocessing.context import ForkServerProcess
from pathlib import Path

BOOST = -15  # of the scheduler's weight of a session, where the machine lets us
_IMPORTED = ["pbrl.queries.human.web.app", "pbrl.queries.human.teacher", "uvicorn"]
_IMPORTED += ["pbrl.commands.label.serve", "pbrl.commands.train", "pbrl.training.run"]
_IMPORTED += ["torch.utils.tensorboard", "pbrl.envs.gym", "pbrl.commands.report"]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_IMPORTED)


def start_program(*words: str) -> ForkServerProcess:
    """Start `pbrl` with these words, in a session of its own; what it writes is not kept."""
    os.environ["OMP_NUM_THREADS"] = "1"
    process = _context.Process(target=_run, args=(words,), daemon=True)
    process.start()
    return process


def kill(process: ForkServerProcess) -> None:
    """End a program by signal 9."""
    process.kill()
    process.join()


def boost(process: int) -> None:
    """Let a session come before others that share the machine, where that is allowed."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process}/autogroup").write_text(str(BOOST))


def _run(words: tuple[str, ...]) -> None:
    os.setsid()
    with open(os.devnull, "w") as nothing:
        for stream in (1, 2):
            os.dup2(nothing.fileno(), stream)
    from pbrl.cli import main

    main(list(words))
