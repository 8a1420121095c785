"""Becomes a program that ends when whoever started it does: `python lifeline.py PROGRAM WORD ...`.

The starter holds the other end of the standard input, and started this in a session of its own. A
guard waits for that end to close, because the starter closed it, was killed or went down with its
machine's part of a cluster, and kills the program and all that it started: a run whose launcher is
gone would hold its folder against the next attempt. Standard library alone, to start in no time.
"""

import os
import signal
import sys
from collections.abc import Sequence


def main(words: Sequence[str]) -> None:
    """Leave the guard behind and become the program."""
    child = os.fork()
    if child == 0:
        if os.fork() == 0:  # nobody's child, so that no one waits for it or ends it with others
            guard()
        os._exit(0)
    os.waitpid(child, 0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())
    os.execvp(words[0], list(words))


def guard() -> None:
    """Wait for the starter's end, then kill the session."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
