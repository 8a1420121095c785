"""Pickled arrays and lists of whole numbers, read without running a pickle.

A pickle is a program, and Python's own reader lets it call whatever it names. Label files use a
small part of that language: lists of whole numbers, and numpy arrays of numbers. This reader
follows those instructions itself, imports and calls nothing that a file names, and refuses every
other instruction. An array is as large as the bytes that the file holds for it, so a file cannot
make the reader allocate more than a small multiple of its own size.
"""

import enum
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MAX_BYTES = 2**24  # of a file; two thousand pairs take 32 kB, a million 16 MB
MAX_AXES = 4
_NUMBERS = frozenset(("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"))
_BYTE_ORDERS = frozenset("<>|=")


class _Name(enum.Enum):
    """The only names that a file may mention; they stand for themselves and are never looked up."""

    RECONSTRUCT = "_reconstruct"
    FROMBUFFER = "_frombuffer"
    NDARRAY = "ndarray"
    DTYPE = "dtype"


_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _Name.RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): _Name.FROMBUFFER,
    ("numpy._core.numeric", "_frombuffer"): _Name.FROMBUFFER,
    ("numpy", "ndarray"): _Name.NDARRAY,
    ("numpy", "dtype"): _Name.DTYPE,
}


@dataclass
class _Dtype:
    code: str
    byte_order: str = "="


@dataclass
class _Array:
    value: np.ndarray | None = None  # None until its state came


def read_pickle(path: Path) -> np.ndarray | list[int]:
    """Return the array of numbers or the list of whole numbers that a pickle file holds.

    Raises:
        ValueError: if the file is anything else, or larger than `MAX_BYTES`.
        OSError: if it cannot be read at all.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size} bytes; a pickled label file may have {MAX_BYTES}")
    try:
        return _result(_Machine().run(path.read_bytes()))
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(
            f"{path} is not a pickled list of whole numbers or array of numbers: {error}"
        ) from error


def _result(value: Any) -> np.ndarray | list[int]:
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    if isinstance(value, list) and all(type(item) is int and abs(item) < 2**63 for item in value):
        return value
    raise ValueError(f"it holds {_describe(value)}")


class _Machine:
    """A stack with marks and a memo, as pickle defines them."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []  # where lists and tuples begin on the stack
        self.memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        """Follow the instructions and return what is left on the stack."""
        for instruction, argument, position in pickletools.genops(program):
            if instruction.name == "STOP":
                tail = len(program) - 1 - (position or 0)
                if tail:
                    raise ValueError(f"{tail} bytes follow its end")
                (value,) = self.stack
                return value
            action = _ACTIONS.get(instruction.name)
            if action is None:
                raise ValueError(f"it uses {instruction.name}, which no array needs")
            action(self, argument)
        raise ValueError("it has no end")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def take(self, count: int) -> tuple[Any, ...]:
        """Remove the last `count` values from the stack and return them."""
        if len(self.stack) < count:
            raise ValueError("it takes more values than it gave")
        values = tuple(self.stack[len(self.stack) - count :])
        del self.stack[len(self.stack) - count :]
        return values

    def take_to_mark(self) -> tuple[Any, ...]:
        return self.take(max(0, len(self.stack) - self.marks.pop()))

    def extend(self, values: tuple[Any, ...]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError(f"it appends to {_describe(self.stack[-1])}")
        self.stack[-1].extend(values)

    def mention(self, module: Any, name: Any) -> None:
        # Anything else than text might nest so deep that hashing it overflows the C stack.
        is_text = isinstance(module, str) and isinstance(name, str)
        if not is_text or (module, name) not in _NAMES:
            raise ValueError(
                f"it names {_describe(name)} of {_describe(module)}, which no array needs"
            )
        self.push(_NAMES[module, name])

    def reduce(self) -> None:
        """Do what calling one of the four names would do."""
        match self.take(2):
            case (_Name.RECONSTRUCT, (_Name.NDARRAY, (0,), b"b")):
                self.push(_Array())
            case (_Name.DTYPE, (str() as code, False | 0, True | 1)) if code in _NUMBERS:
                self.push(_Dtype(code))
            case (_Name.FROMBUFFER, (data, _Dtype() as dtype, shape, "C" | "F" as order)):
                self.push(_Array(_make_array(shape, dtype, order == "F", data)))
            case (function, arguments):
                raise ValueError(f"it calls {_describe(function)} with {_describe(arguments)}")

    def build(self) -> None:
        """Give an array or a number type its state."""
        (state,) = self.take(1)
        match (self.stack[-1], state):
            case (_Dtype() as dtype, (3, str() as order, None, None, None, -1, -1, 0)) if (
                order in _BYTE_ORDERS
            ):
                dtype.byte_order = order
            case (_Array() as array, (1, shape, _Dtype() as dtype, bool() as fortran, data)):
                array.value = _make_array(shape, dtype, fortran, data)
            case (target, _):
                raise ValueError(f"it gives {_describe(target)} the state {_describe(state)}")


def _make_array(shape: Any, dtype: _Dtype, fortran: bool, data: Any) -> np.ndarray:
    """Return the array, after checking that the bytes are exactly those that its shape needs."""
    if not (isinstance(shape, tuple) and len(shape) <= MAX_AXES):
        raise ValueError(f"it gives an array the shape {_describe(shape)}")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("the sizes of an array are not whole numbers")
    if not isinstance(data, bytes | bytearray):
        raise ValueError(f"it gives an array {_describe(data)} as data")
    number = np.dtype(dtype.byte_order + dtype.code)
    needed = math.prod(shape) * number.itemsize
    if needed != len(data):
        raise ValueError(f"an array of shape {shape} needs {needed} bytes and has {len(data)}")
    flat = np.frombuffer(data, number) if data else np.zeros(0, number)
    array = flat.reshape(shape, order="F" if fortran else "C")
    return array.astype(number.newbyteorder("="))


def _describe(value: Any) -> str:
    """Return what a value is, in few words, however large it is."""
    if isinstance(value, _Name):
        return f"numpy's {value.value}"
    if isinstance(value, str | int | None):
        return repr(value)[:80]
    return f"a {type(value).__name__.strip('_')}"


def _ignore(machine: _Machine, value: Any) -> None:
    del machine, value


def _push(machine: _Machine, value: Any) -> None:
    machine.push(value)


def _remember(machine: _Machine, place: Any) -> None:
    machine.memo[len(machine.memo) if place is None else place] = machine.stack[-1]


_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _ignore,
    "FRAME": _ignore,
    **dict.fromkeys(("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1"), _push),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE"), _push),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"), _push),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "LIST": lambda machine, _: machine.push(list(machine.take_to_mark())),
    "APPEND": lambda machine, _: machine.extend(machine.take(1)),
    "APPENDS": lambda machine, _: machine.extend(machine.take_to_mark()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(machine.take_to_mark()),
    "TUPLE1": lambda machine, _: machine.push(machine.take(1)),
    "TUPLE2": lambda machine, _: machine.push(machine.take(2)),
    "TUPLE3": lambda machine, _: machine.push(machine.take(3)),
    **dict.fromkeys(("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"), _remember),
    **dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"),
        lambda machine, place: machine.push(machine.memo[place]),
    ),
    "GLOBAL": lambda machine, name: machine.mention(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.mention(*machine.take(2)),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.build(),
}
