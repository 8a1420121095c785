"""The reader of pickled arrays: it reads what label files hold and runs nothing."""

import copyreg
import os
import pickle
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pbrl.offline.labels.pickles import MAX_BYTES, read_pickle


class Calls:
    """An object whose pickle calls `function(*arguments)` when Python reads it."""

    def __init__(self, function, *arguments, state=None):
        self.recipe = (function, arguments, state) if state is not None else (function, arguments)

    def __reduce__(self):
        return self.recipe


def read(tmp_path, program: bytes):
    path = tmp_path / "label_human"
    path.write_bytes(program)
    return read_pickle(path)


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(2000),
        np.arange(7, dtype=np.int32),
        np.arange(6, dtype=">i8"),
        np.array([[1.0, 0.0], [0.5, 0.5]]),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.zeros((0, 2)),
        np.array(3),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_of_both_generations_of_numpy_are_read(tmp_path, array, protocol, module):
    program = pickle.dumps(array, protocol)
    if protocol == 3:  # names are lines of text and may change their length
        program = program.replace(b"numpy._core", module)
    else:
        program = unframed(program).replace(
            bytes([len(b"numpy._core.multiarray")]) + b"numpy._core.multiarray",
            bytes([len(module + b".multiarray")]) + module + b".multiarray",
        )
    found = read(tmp_path, program)
    assert found.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, array)


def unframed(program: bytes) -> bytes:
    """Return a program of protocol 4 or 5 without its frames, so that it may be edited."""
    place = program.find(b"\x95")
    return program if place < 0 else program[:place] + program[place + 9 :]


@pytest.mark.parametrize("protocol", range(1, 6))
def test_lists_of_whole_numbers_are_read(tmp_path, protocol):
    numbers = [-1, 0, 1, 300, 70_000, -(2**40), 2**63 - 1]
    assert read(tmp_path, pickle.dumps(numbers, protocol)) == numbers
    assert read(tmp_path, pickle.dumps([], protocol)) == []


@given(
    arrays.arrays(
        st.sampled_from(["i1", "<i4", ">i8", "u2", "f4", "<f8"]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_numpy_writes_is_read_back(tmp_path, array):
    found = read(tmp_path, pickle.dumps(array))
    np.testing.assert_array_equal(found, array)


def hostile(tmp_path) -> dict[str, object]:
    """Objects whose pickles would leave a trace if anything in them were called."""
    target = str(tmp_path / "trace")
    command = f"touch {target}"
    array = np.arange(3)
    text = f"open({target!r}, 'w')"
    return {
        "a shell": Calls(os.system, command),
        "builtins.eval": Calls(eval, text),
        "builtins.exec": Calls(exec, text),
        "open": Calls(open, target, "w"),
        "numpy.load": Calls(np.load, target, None, True),
        "numpy.save": Calls(np.save, target, array),
        "numpy.fromfile": Calls(np.fromfile, target),
        "numpy.memmap": Calls(np.memmap, target, "u1", "w+", 0, (3,)),
        "tofile of an array": Calls(np.ndarray.tofile, array, target),
        "a shell in a list": [1, Calls(os.system, command)],
        "a shell as state": Calls(np.dtype, "i8", state=Calls(os.system, command)),
        "a shell as data": [array, Calls(os.system, command)],
        "an array of objects": np.array([Calls(os.system, command)], dtype=object),
        "a constructor of copyreg": Calls(copyreg._reconstructor, Victim, object, None),
        "a subclass of arrays": np.arange(3).view(np.recarray),
        "a masked array": np.ma.masked_array([1, 2]),
        "a function of numpy": np.loadtxt,
        "a class": Victim,
        "an instance": Victim(),
        "state of an instance": Victim(path=target),
        "a structured array": np.zeros(2, [("a", "i8")]),
        "dates": np.zeros(2, "M8[s]"),
        "text": "hello",
        "bytes": b"hello",
        "a dictionary": {"a": 1},
        "a set": {1},
        "truth values": [True, False],
        "fractions": [0.5],
        "nested lists": [[1]],
        "an enormous number": [2**64],
        "None": None,
    }


class Victim:
    def __init__(self, path=None):
        self.path = path

    def __setstate__(self, state):
        open(state["path"], "w").close()


def test_nothing_that_a_file_names_is_called(tmp_path):
    for name, thing in hostile(tmp_path).items():
        for protocol in range(6):
            program = pickle.dumps(thing, protocol)
            with pytest.raises(ValueError, match="label_human is not a pickled list"):
                read(tmp_path, program)
            assert not (tmp_path / "trace").exists(), (name, protocol)


def test_the_attacks_would_work_on_pythons_own_reader(tmp_path):
    for name in ("a shell", "open", "state of an instance", "numpy.memmap"):
        pickle.loads(pickle.dumps(hostile(tmp_path)[name]))  # noqa: S301  this is the point
        assert (tmp_path / "trace").exists(), name
        (tmp_path / "trace").unlink()


def array_program(shape=b"K\x03\x85", code=b"i8", state_of_dtype=None, data=bytes(24)) -> bytes:
    """Write the program of an array by hand, so that each of its parts can lie."""
    dtype_state = state_of_dtype or b"(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
    return (
        b"\x80\x04\x8c\x16numpy._core.multiarray\x8c\x0c_reconstruct\x93"
        b"\x8c\x05numpy\x8c\x07ndarray\x93K\x00\x85C\x01b\x87R(K\x01" + shape + b"\x8c\x05numpy"
        b"\x8c\x05dtype\x93\x8c" + bytes([len(code)]) + code + b"\x89\x88\x87R" + dtype_state + b"b"
        b"\x89B" + len(data).to_bytes(4, "little") + data + b"tb."
    )


def test_the_program_written_by_hand_is_an_array(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, array_program()), np.zeros(3, np.int64))
    np.testing.assert_array_equal(pickle.loads(array_program()), np.zeros(3))  # noqa: S301  ours


LIES = {
    "a terabyte by its shape": array_program(shape=b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85"),
    "a shape that overflows": array_program(shape=b"\x8a\x09" + b"\xff" * 8 + b"\x00\x85"),
    "a negative shape": array_program(shape=b"J\xff\xff\xff\xffJ\xfd\xff\xff\xff\x86"),
    "a shape of text": array_program(shape=b"\x8c\x01a\x85"),
    "a shape of truth": array_program(shape=b"\x88\x85", data=bytes(8)),
    "a shape that is no tuple": array_program(shape=b"K\x03"),
    "five axes": array_program(shape=b"(K\x03K\x01K\x01K\x01K\x01t"),
    "one byte too few": array_program(data=bytes(23)),
    "one byte too many": array_program(data=bytes(25)),
    "objects": array_program(code=b"O8"),
    "a code with a file name": array_program(code=b"V/etc"),
    "fields of a number type": array_program(
        state_of_dtype=b"(K\x03\x8c\x01|N\x8c\x01a\x85NK\x10K\x01K\x00t"
    ),
    "a size of a number type": array_program(
        state_of_dtype=b"(K\x03\x8c\x01<NNNK\x7fJ\xff\xff\xff\xffK\x00t"
    ),
    "an order of bytes": array_program(
        state_of_dtype=b"(K\x03\x8c\x01ONNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
    ),
    "a state for a name": b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93K\x01b.",
    "a state for nothing": b"\x80\x04K\x01b.",
    "an array called with a shape": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93M\xff\xff\x85\x85R.",
    "an array made by NEWOBJ": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93K\x03\x85\x81.",
    "a new object with keywords": b"\x80\x04\x8c\x05numpy\x8c\x07ndarray\x93)}\x92.",
    "an unfinished array": array_program()[:67] + b".",
    "an extension of copyreg": b"\x80\x02\x82\x01.",
    "a persistent identifier": b"Pfile\n.",
    "a persistent identifier from the stack": b"\x80\x04K\x01Q.",
    "an instance by INST": b"(S'ls'\nios\nsystem\n.",
    "an object by OBJ": b"(\x8c\x02os\x8c\x06system\x93K\x01o.",
    "out-of-band data": b"\x80\x05\x97.",
    "a memo place never filled": b"\x80\x04h\x07.",
    "a memo place of four billion": b"\x80\x04K\x01r\xff\xff\xff\xff",
    "a text of four gigabytes": b"\x80\x04X\xff\xff\xff\xffabc.",
    "bytes of an exabyte": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x0fabc.",
    "a byte array of an exabyte": b"\x80\x05\x96" + b"\xff" * 7 + b"\x0fabc.",
    "a number of a gigabyte": b"\x80\x02\x8b\x00\x00\x00\x40abc.",
    "a number of many digits": b"L" + b"9" * 5000 + b"L\n.",
    "two values": b"\x80\x04]].",
    "no value": b"\x80\x04.",
    "a tail": b"\x80\x04].junk",
    "no end": b"\x80\x04]",
    "nothing": b"",
    "no mark": b"\x80\x04]e.",
    "an append to a number": b"\x80\x04K\x01K\x02a.",
    "something else": b"PK\x03\x04",
}


@pytest.mark.parametrize("program", LIES.values(), ids=LIES)
def test_lies_are_refused_at_once_and_in_little_memory(tmp_path, program):
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(ValueError, match="label_human is not a pickled list"):
        read(tmp_path, program)
    assert time.process_time() - begin < 2
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x04" + b"]" * 30_000 + b".",
        b"\x80\x04)" + b"\x85" * 30_000 + b".",  # a tuple in a tuple in a tuple ...
        b"\x80\x04)" + b"\x85" * 100_000 + b"\x8c\x01a\x93.",  # ... as the name of a module
        b"\x80\x04]" + b"\x94h\x00a" * 20_000 + b".",  # a list that holds itself many times
        b"\x80\x04" + b"(" * 30_000 + b"t" * 30_000 + b".",
        b"\x80\x04" + b"(" * 30_000 + b".",
    ],
    ids=["lists", "tuples", "a deep name", "itself", "marks and tuples", "marks"],
)
def test_deep_and_circular_programs_end(tmp_path, program):
    begin = time.process_time()
    with pytest.raises(ValueError, match="is not a pickled list"):
        read(tmp_path, program)
    assert time.process_time() - begin < 10


def test_a_large_file_is_not_even_opened(tmp_path):
    path = tmp_path / "label_human"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ValueError, match=rf"has {MAX_BYTES + 1} bytes; .* may have {MAX_BYTES}"):
        read_pickle(path)


def test_random_changes_end_in_numbers_or_a_clear_error(tmp_path):
    rng = np.random.default_rng(0)
    valid = [pickle.dumps(np.arange(5)), pickle.dumps([1, -1, 0]), pickle.dumps(np.ones((3, 2)), 3)]
    refused = 0
    for _ in range(300):
        program = bytearray(valid[rng.integers(len(valid))])
        for place in rng.integers(len(program), size=rng.integers(1, 4)):
            program[place] = rng.integers(256)
        if rng.random() < 0.2:
            del program[rng.integers(len(program)) :]
        try:
            found = read(tmp_path, bytes(program))
        except ValueError:
            refused += 1
            continue
        assert isinstance(found, list) or found.dtype.kind in "iuf"
    assert 50 < refused < 300
