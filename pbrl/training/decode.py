"""Configurations back from JSON."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def decode(kind: type[T], plain: Mapping[str, Any], name: str = "config") -> T:
    """Build a dataclass from the mapping that `pbrl.training.files.plain` made of it.

    Args:
        kind: the dataclass.
        plain: JSON values; a missing field takes its default.
        name: how to call it in an error.

    Raises:
        ValueError: if a field is unknown or lacks, or its value has the wrong type, naming it.
    """
    hints = typing.get_type_hints(kind)
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = set(plain) - fields
    if unknown:
        raise ValueError(f"{name} has unknown fields {sorted(unknown)}; it has {sorted(fields)}")
    missing = [field.name for field in _required(kind) if field.name not in plain]
    if missing:
        raise ValueError(f"{name} lacks the field {missing[0]!r}")
    values = {key: _value(hints[key], value, f"{name}.{key}") for key, value in plain.items()}
    return kind(**values)


def _required(kind: Any) -> Iterator[dataclasses.Field[Any]]:
    for field in dataclasses.fields(kind):
        if field.default is field.default_factory is dataclasses.MISSING:
            yield field


def _value(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be an object, got {value!r}")
        return decode(hint, value, name)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _first_that_fits(arguments, value, name)
    if origin is typing.Literal:
        if value not in arguments:
            raise ValueError(f"{name} must be one of {arguments}, got {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name} must be a list, got {value!r}")
        kinds = [arguments[0]] * len(value) if arguments[-1:] == (...,) else list(arguments)
        if len(kinds) != len(value):
            raise ValueError(f"{name} must have {len(kinds)} values, got {len(value)}")
        return tuple(
            _value(kind, item, f"{name}[{index}]")
            for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is dict and isinstance(value, Mapping):
        return {key: _value(arguments[1], item, f"{name}.{key}") for key, item in value.items()}
    return _scalar(hint, value, name)


def _first_that_fits(hints: tuple[Any, ...], value: Any, name: str) -> Any:
    problems = []
    for hint in hints:
        if hint is type(None):
            if value is None:
                return None
            continue
        try:
            return _value(hint, value, name)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError("; ".join(problems) or f"{name} must be null, got {value!r}")


def _scalar(hint: Any, value: Any, name: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # A type variable is the field of a generic dataclass, which the caller has decoded.
    if hint is Any or isinstance(hint, TypeVar) or type(value) is hint:
        return value
    raise ValueError(f"{name} must be {getattr(hint, '__name__', hint)}, got {value!r}")
