import io
import json
import zipfile

import numpy as np
import pytest

from pbrl.offline import npz
from pbrl.offline.npz import npz_names, read_npz


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pairs.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        np.array(2.5),
        np.zeros((0, 3), np.int32),
        np.array([True, False]),
        np.arange(4, dtype=">i8"),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_come_back_as_they_were(path, array, save):
    save(path, obs_1=array, other=np.array([{}]))
    assert npz_names(path) == {"obs_1", "other"}
    found = read_npz(path, ["obs_1"])["obs_1"]
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)


def test_what_is_missing_is_named(path):
    np.savez(path, obs_1=np.zeros(1))
    with pytest.raises(ValueError, match="pairs.npz is not .* it lacks label and has obs_1"):
        read_npz(path, ["obs_1", "label"])


@pytest.mark.parametrize("array", [np.array([{}]), np.array(["a"]), np.zeros(2, [("a", "i8")])])
def test_only_numbers_are_read(path, array):
    np.savez(path, label=array, allow_pickle=True)
    with pytest.raises(ValueError, match="pairs.npz .* label cannot be read: .* expected numbers"):
        read_npz(path, ["label"])


def lying(path, header: dict, data: bytes, version: bytes = b"\x01\x00") -> None:
    text = f"{header}\n".encode()
    member = b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("label.npy", member)


HONEST = {"descr": "<f8", "fortran_order": False, "shape": (2,)}


@pytest.mark.parametrize(
    ("changes", "version", "message"),
    [
        ({"shape": (2**40,)}, b"\x01\x00", "needs 8796093022208 bytes of float64, it holds 16"),
        ({"shape": (3,)}, b"\x01\x00", "needs 24 bytes of float64, it holds 16"),
        ({"shape": (1,)}, b"\x01\x00", "needs 8 bytes of float64, it holds 16"),
        ({"shape": (-2,)}, b"\x01\x00", "needs"),
        ({"descr": "|O"}, b"\x01\x00", "object, expected numbers"),
        ({"descr": "__import__('os')"}, b"\x01\x00", "cannot be read"),
        ({}, b"\x03\x00", "NPY version"),
    ],
)
def test_a_header_that_lies_costs_no_memory(path, changes, version, message):
    lying(path, HONEST | changes, bytes(16), version)
    with pytest.raises(ValueError, match=message):
        read_npz(path, ["label"])


def test_the_honest_header_is_read(path):
    lying(path, HONEST, bytes(16))
    assert read_npz(path, ["label"])["label"].tolist() == [0.0, 0.0]


def test_an_archive_that_unpacks_to_too_much_is_refused(path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_BYTES", 1000)
    np.savez_compressed(path, label=np.zeros(1000))
    with pytest.raises(ValueError, match="unpacks to 8128 bytes, more than 1000"):
        read_npz(path, ["label"])


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", json.dumps({}).encode(), bytes(100)])
def test_another_file_is_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(ValueError, match="pairs.npz is not an NPZ archive"):
        npz_names(path)


def test_a_file_that_is_not_there_is_an_os_error(path):
    with pytest.raises(FileNotFoundError):
        read_npz(path, ["label"])


def test_random_changes_end_in_the_array_or_a_clear_error(path):
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, label=np.arange(10.0), obs_1=np.ones((2, 3)))
    valid = buffer.getvalue()
    refused = []
    for _ in range(300):
        data = bytearray(valid)
        for place in rng.integers(len(data), size=rng.integers(1, 5)):
            data[place] = rng.integers(256)
        path.write_bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.2 else data)
        try:
            assert len(read_npz(path, ["label"])["label"]) == 10
        except ValueError as error:
            refused.append(str(error))
    assert 50 < len(refused) < 300
    assert all("pairs.npz" in message for message in refused)
