"""The command `pbrl`: one verb per word, each a module of `pbrl.commands`."""

import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import pbrl
from pbrl.commands.groups import usage
from pbrl.lookup import suggest

# A verb's module is imported when it is asked for: `pbrl plot` need not wait for a simulator.
VERBS = {
    "list": "the names of agents, tasks and suites",
    "train": "learn online, from preferences or from true reward",
    "collect": "make a dataset from policies",
    "dataset": "describe a dataset, and judge policies by it",
    "fit": "learn offline, from a dataset and labels",
    "evaluate": "roll out the policy of a run",
    "plot": "draw learning curves of runs or records",
    "credit": "draw which steps a learned reward pays",
    "label": "import, export and judge labels in files",
    "benchmark": "run a suite piece by piece and make its table and figures",
}

USER_ERROR = 2
INTERRUPTED = 130
CUT_SHORT = 141  # as a shell reports a program that died by SIGPIPE


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the verb that the first word names and exit with its status.

    What a user can put right (a wrong value, a missing file, a full disk) is one message and status
    2; with PBRL_TRACEBACK set in the environment it is a traceback.
    """
    verb, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if verb in ("-h", "--help"):
        _write(usage("pbrl", "Preference-based reinforcement learning.", VERBS))
        return
    if verb == "--version":
        _write(f"pbrl {pbrl.__version__}")
        return
    if verb not in VERBS:
        _write(f"pbrl: unknown verb {verb!r}{suggest(verb, VERBS)}", 2)
        _write(usage("pbrl", "Preference-based reinforcement learning.", VERBS), 2)
        raise SystemExit(USER_ERROR)
    run_verb(verb, rest)


def run_verb(verb: str, arguments: Sequence[str] | None = None) -> None:
    """Run one verb and exit with its status; by default on the words after the program's name."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    warnings.formatwarning = _format_warning
    try:
        _let_modules_be_found_here()
        with _stoppable():
            module = importlib.import_module(f"pbrl.commands.{verb}")
            status: int | None = module.main(words)
    except KeyboardInterrupt as stop:
        _write(str(stop) or "stopped", 2)
        status = INTERRUPTED
    except BrokenPipeError:  # whoever read the output has had enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the exit would complain
        status = CUT_SHORT
    except (ValueError, OSError, ImportError) as error:
        # An import that Python itself refused has a name; one that names an extra has none.
        if os.environ.get("PBRL_TRACEBACK") or getattr(error, "name", None):
            raise
        _write(f"pbrl {verb}: {_message(error)}", 2)
        status = USER_ERROR
    if status:
        raise SystemExit(status)


def _let_modules_be_found_here() -> None:
    """Find a user's own modules in the working directory, as `python -m pbrl.cli` does.

    They come last, so that no file that happens to lie there takes the place of a dependency.
    """
    here = os.getcwd()
    is_there = any(os.path.abspath(path) == here for path in sys.path)  # "" is here
    if not (is_there or sys.flags.safe_path):
        sys.path.append(here)


class _Stopped(KeyboardInterrupt):
    """Ctrl-C; once a plain one has left an `exec`, `python -m` dies by it, caught or not."""


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C end in our status also while modules are imported, which `exec` much."""

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise _Stopped

    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _format_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Return a warning without the line of source that gave it."""
    del filename, lineno, line
    return f"{category.__name__}: {message}\n"


def _message(error: Exception) -> str:
    """Return what went wrong without the number that the system gives it, and the notes on it."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return "\n".join([text, *getattr(error, "__notes__", ())])


def _write(text: str, stream: int = 1) -> None:
    """Write a line to the standard output (1) or the standard error (2)."""
    (sys.stdout if stream == 1 else sys.stderr).write(f"{text}\n")


if __name__ == "__main__":
    main()
