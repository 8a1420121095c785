"""The words that follow `pbrl dataset`."""

from collections.abc import Sequence

from pbrl.commands.groups import run_group

WORDS = {
    "report": ("pbrl.commands.dataset.report", "describe a dataset, and judge policies by it"),
}


def main(arguments: Sequence[str]) -> int | None:
    """Run `pbrl dataset` with the words after it."""
    return run_group("pbrl dataset", "Datasets, whatever their source.", WORDS, arguments)
