from dataclasses import dataclass, field
from typing import Literal

import pytest

from pbrl.training.decode import decode
from pbrl.training.files import plain


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    sizes: tuple[int, ...] = (2, 3)
    bounds: tuple[float, float] = (-1.0, 1.0)
    mode: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    count: int | None = None
    flag: bool = False
    inner: Inner = field(default_factory=Inner)
    optional: Inner | None = None
    options: dict[str, int | str] = field(default_factory=dict)


@pytest.mark.parametrize(
    "value",
    [
        Outer(name="x"),
        Outer(name="y", count=3, flag=True, inner=Inner(rate=1.0, sizes=(), mode="b")),
        Outer(name="z", optional=Inner(bounds=(0.0, 2.0)), options={"a": 1, "b": "c"}),
    ],
)
def test_round_trip(value):
    assert decode(Outer, plain(value)) == value


def test_whole_numbers_are_floats_too():
    assert decode(Inner, {"rate": 1}).rate == 1.0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"name": "x", "colour": 1}, "unknown fields"),
        ({}, "config lacks the field 'name'"),
        ({"name": "x", "options": {"a": 1.5}}, r"config\.options\.a must be int"),
        ({"name": "x", "options": [1]}, r"config\.options must be dict"),
        ({"name": 3}, r"config\.name must be str"),
        ({"name": "x", "count": "many"}, r"config\.count must be int"),
        ({"name": "x", "flag": 1}, r"config\.flag must be bool"),
        ({"name": "x", "inner": {"mode": "c"}}, r"config\.inner\.mode must be one of"),
        ({"name": "x", "inner": {"sizes": [1, "2"]}}, r"config\.inner\.sizes\[1\]"),
        ({"name": "x", "inner": {"bounds": [1.0]}}, "must have 2 values"),
        ({"name": "x", "inner": 3}, r"config\.inner must be an object"),
    ],
)
def test_wrong_values_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        decode(Outer, bad)
