"""Find an entry of a table by name, with help for a misspelt one."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TypeVar

Entry = TypeVar("Entry")


def look_up(kind: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """Return `table[name]`.

    Args:
        kind: what the table holds, for the error message: "teacher", "sampler".
        name: the name asked for.
        table: all entries by name.

    Raises:
        ValueError: if there is no such name, with the nearest names and all of them.
    """
    if name in table:
        return table[name]
    raise ValueError(f"unknown {kind} {name!r}{suggest(name, table)} (known: {', '.join(table)})")


def suggest(wrong: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the nearest of `known`, or nothing."""
    nearest = get_close_matches(wrong, list(known), n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
