"""Small files written so that a reader never sees half of one, and how two of them differ."""

import dataclasses
import enum
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MISSING = "(nothing)"
_INNERMOST_LIST = re.compile(r"\[\n\s+([^][{}]*?)\n\s+\]")


def plain(value: Any) -> Any:
    """Return `value` as JSON knows it: dataclasses and mappings become dicts, tuples lists.

    Raises:
        TypeError: if something in it has no plain form.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return plain(fields)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, Path):
        return value.as_posix()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"cannot write a {type(value).__name__} to JSON: {value!r}")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; an earlier file of that name stays until then."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value`, made plain, as indented JSON, whole or not at all."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return `value`, made plain, as indented JSON."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False)
    # A point of a curve takes one line; line breaks inside strings are escaped and stay.
    text = _INNERMOST_LIST.sub(lambda match: re.sub(r"\n\s+", " ", match[1]).join("[]"), text)
    return text + "\n"


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        ValueError: naming the file, if it is not JSON.
    """
    return parse_json(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return the text of a JSON file.

    Raises:
        ValueError: naming the file, if it is not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error


def parse_json(text: str, source: str) -> Any:
    """Return what the text of a JSON file holds.

    Args:
        text: of the file.
        source: what errors call it.

    Raises:
        ValueError: naming the source, if it is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{source} is not a JSON file: {error}") from error


def differences(stored: Any, present: Any, name: str = "") -> list[str]:
    """Return one line per field in which two plain values differ, such as `seed: 0 -> 1`."""
    if isinstance(stored, dict) and isinstance(present, dict):
        return [
            line
            for key in dict.fromkeys([*stored, *present])
            for line in differences(
                stored.get(key, _MISSING),
                present.get(key, _MISSING),
                f"{name}.{key}" if name else str(key),
            )
        ]
    # NaN is not equal to itself, its text is.
    if stored == present or json.dumps(stored) == json.dumps(present):
        return []
    return [f"{name}: {_text(stored)} -> {_text(present)}"]


def with_new_defaults(stored: Any, config: Any) -> Any:
    """Return stored values with the fields that they lack and `config` has at their defaults.

    They were written by an earlier version, which did not know these fields.

    Args:
        stored: plain values.
        config: a dataclass; anything else leaves the values as they are.
    """
    if not (dataclasses.is_dataclass(config) and isinstance(stored, dict)):
        return stored
    filled = dict(stored)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in stored:
            filled[field.name] = with_new_defaults(stored[field.name], value)
        elif value == _default(field):
            filled[field.name] = plain(value)
    return filled


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _text(value: Any) -> str:
    return _MISSING if value == _MISSING else json.dumps(value)
