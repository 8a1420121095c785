"""The words that follow `pbrl list`."""

from collections.abc import Sequence

from pbrl.commands.groups import run_group

WORDS = {
    "agents": ("pbrl.commands.list.agents", "the methods of `pbrl train` and `pbrl fit`"),
    "tasks": ("pbrl.commands.list.tasks", "the environments of `pbrl train` and `pbrl collect`"),
    "suites": ("pbrl.commands.list.suites", "the suites of `pbrl benchmark`"),
}


def main(arguments: Sequence[str]) -> int | None:
    """Run `pbrl list` with the words after it."""
    return run_group("pbrl list", "The names that other verbs take.", WORDS, arguments)
