"""Verbs of several words, such as `pbrl label report`: each last word is a module of its own."""

import importlib
import sys
from collections.abc import Mapping, Sequence

from pbrl.lookup import suggest

Words = Mapping[str, tuple[str, str]]
"""By word: the module that has `main(words)`, imported when it is asked for, and what it does."""


def run_group(program: str, purpose: str, words: Words, arguments: Sequence[str]) -> int | None:
    """Run the module that the first argument names on the rest and return its status.

    Args:
        program: what was typed so far, such as "pbrl label".
        purpose: what the group is for, in a sentence.
        words: the modules.
        arguments: the words after the program; without any the usage is shown.

    Raises:
        ValueError: if there is no such word, with the nearest.
    """
    word, *rest = list(arguments) or ["--help"]
    if word in ("-h", "--help"):
        text = usage(program, purpose, {name: entry[1] for name, entry in words.items()})
        sys.stdout.write(f"{text}\n")
        return None
    if word not in words:
        raise ValueError(f"unknown word {word!r}{suggest(word, words)} (known: {', '.join(words)})")
    status: int | None = importlib.import_module(words[word][0]).main(rest)
    return status


def usage(program: str, purpose: str, verbs: Mapping[str, str]) -> str:
    """Return how to call a program whose first argument is one of some verbs."""
    width = max(map(len, verbs))
    lines = "\n".join(f"  {verb.ljust(width)}  {what}" for verb, what in verbs.items())
    return (
        f"usage: {program} VERB [OPTIONS]\n\n{purpose}\n\n{lines}\n\n"
        f"`{program} VERB --help` lists the options of a verb."
    )
