"""The words that follow `pbrl label`."""

from collections.abc import Sequence

from pbrl.commands.extras import LABEL, needs_extra
from pbrl.commands.groups import run_group

WORDS = {
    "import": ("pbrl.commands.label.import_", "convert labels of any known kind to a record"),
    "export": ("pbrl.commands.label.export", "write a record as CSV, Parquet or pairs"),
    "simulate": ("pbrl.commands.label.simulate", "label a dataset by its true rewards"),
    "transfer": ("pbrl.commands.label.transfer", "carry labels from one task to another"),
    "report": ("pbrl.commands.label.report", "count and judge labels, or compare two files"),
    "study": ("pbrl.commands.label.study", "make a study for people, and take out what they said"),
    "serve": ("pbrl.commands.label.serve", "let people label a study in their browsers"),
}


def main(arguments: Sequence[str]) -> int | None:
    """Run `pbrl label` with the words after it."""
    with needs_extra("label", LABEL):
        return run_group(
            "pbrl label",
            "Labels: of people, simulated, or from files; in, out and judged.",
            WORDS,
            arguments,
        )
