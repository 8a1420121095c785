"""Which options of a command were given, and which stand at their defaults."""

from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any


def given_options(options: Any, words: Sequence[str] = ()) -> frozenset[str]:
    """Return the names of the options that were given, those of nested options as `data.env`.

    Args:
        options: a dataclass, as it was read.
        words: it was read from; an option given with its default's value shows in them alone.
    """
    named = {word[2:].partition("=")[0].replace("-", "_") for word in words if word[:2] == "--"}
    return frozenset(name for name, changed in _options(options, "") if changed or name in named)


def _options(options: Any, prefix: str) -> list[tuple[str, bool]]:
    """Return the name of each option, and whether its value is not the default."""
    found = []
    for field in fields(options):
        value, name = getattr(options, field.name), f"{prefix}{field.name}"
        if is_dataclass(value):
            found += _options(value, f"{name}.")
        else:
            found.append((name, value != _default(field)))
    return found


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
