import hashlib

import numpy as np
import pytest

from pbrl.offline.checks import DatasetError, as_flags, as_floats, as_lengths, sha256, squeezed


def test_numbers_of_every_kind_become_single_precision():
    for dtype in (np.float16, np.float64, np.int8, np.uint64, bool):
        array = np.array([[0, 1]], dtype)
        found = as_floats("file: key", array, (1, None))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, [[0, 1]])


def test_single_precision_is_not_copied():
    array = np.zeros((3, 2), np.float32)
    assert as_floats("file: key", array, (None, None)) is array


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[{}]]), "file: key holds object, expected numbers"),
        (np.array([["a"]]), "file: key holds <U1, expected numbers"),
        (np.array([[1j]]), "file: key holds complex128, expected numbers"),
        (np.zeros((1, 2), "M8[s]"), "expected numbers"),
        (np.zeros(3), r"has shape \(3,\), expected \(any, 2\), none of it empty"),
        (np.zeros((0, 2)), r"has shape \(0, 2\)"),
        (np.zeros((1, 3)), r"has shape \(1, 3\)"),
        (np.array([[0, 0], [0, np.nan]]), "1 of 2 rows do not, the first of them row 1"),
        (np.array([[0, -np.inf]]), "row 0"),
        (np.array([[0, 1e39]]), "single precision"),
    ],
)
def test_everything_else_is_refused(array, message):
    with pytest.raises(DatasetError, match=message):
        as_floats("file: key", array, (None, 2))


def test_dataset_errors_are_value_errors():
    assert issubclass(DatasetError, ValueError)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_flags_are_read_from_zeros_and_ones(dtype):
    flags = as_flags("file: key", np.array([0, 1, 1], dtype), 3)
    assert flags.dtype == bool
    assert flags.tolist() == [False, True, True]


@pytest.mark.parametrize("value", [2, -1, 0.5, np.nan])
def test_other_flags_are_refused(value):
    with pytest.raises(DatasetError, match=f"must hold 0 or 1, found {value}"):
        as_flags("file: key", np.array([0.0, value]), 2)


def test_lengths_are_whole_and_positive():
    assert as_lengths("file: key", np.array([1, 2], np.uint8)).tolist() == [1, 2]
    for array in (np.array([1.0]), np.array([True]), np.zeros(0, int), np.zeros((1, 1), int)):
        with pytest.raises(DatasetError):
            as_lengths("file: key", array)
    for wrong in (np.array([3, 0]), np.array([2**64 - 1], np.uint64)):
        with pytest.raises(DatasetError, match="an empty episode"):
            as_lengths("file: key", wrong)


def test_columns_become_vectors():
    assert squeezed(np.zeros((3, 1))).shape == (3,)
    assert squeezed(np.zeros((3, 2))).shape == (3, 2)
    assert squeezed(np.zeros((1, 1, 1))).shape == (1, 1, 1)


def test_checksum_is_that_of_sha256sum(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert sha256(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()
