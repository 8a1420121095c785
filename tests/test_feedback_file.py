import io
import json
import math
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pbrl.feedback_file
from pbrl.dataset_identity import DatasetIdentity
from pbrl.feedback import Answers, FeedbackStore
from pbrl.segments import SegmentIndex


class Bomb:
    """Says so when somebody unpickles it."""

    def __reduce__(self):
        return (pytest.fail, ("a file from outside was unpickled",))


def store_with_answers() -> FeedbackStore:
    store = FeedbackStore()
    index = torch.arange(12).reshape(3, 2, 2)
    store.ask(SegmentIndex(*index), step=100)
    store.ask(SegmentIndex(*index), step=200)
    labels = torch.tensor([1.0, 0.5, math.nan])
    store.answer(Answers.of(torch.tensor([0, 1, 2]), labels, "ann"))
    store.answer(Answers.of(torch.tensor([0]), torch.tensor([0.25]), "Zoë ☂"))
    return store


def assert_same(first: FeedbackStore, second: FeedbackStore) -> None:
    state_0, state_1 = first.state_dict(), second.state_dict()
    assert state_0.pop("names") == state_1.pop("names")
    assert state_0.keys() == state_1.keys()
    for name, value in state_0.items():
        torch.testing.assert_close(value, state_1[name], rtol=0, atol=0, equal_nan=True)


def saved_arrays(tmp_path) -> dict[str, np.ndarray]:
    store_with_answers().save(tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as file:
        return dict(file)


def assert_refused(path, message: str) -> None:
    with pytest.raises(ValueError, match=f"{path.name} is not a feedback record: .*{message}"):
        FeedbackStore.load(path)


def test_a_record_is_read_back_and_goes_on(tmp_path):
    store = store_with_answers()
    store.save(tmp_path / "feedback.npz")
    loaded = FeedbackStore.load(tmp_path / "feedback.npz")
    assert_same(store, loaded)
    assert loaded.annotators == ("ann", "Zoë ☂")
    assert loaded.pending().tolist() == [3]
    loaded.answer(Answers.of(torch.tensor([0]), torch.tensor([0.0]), "ann"))
    assert loaded.labelled().labels.tolist() == [0.5, 0.25, 0.0]


def test_notes_on_the_labels_are_kept(tmp_path):
    store = store_with_answers()
    store.notes.append("all of it guessed")
    store.save(tmp_path / "feedback.npz")
    assert FeedbackStore.load(tmp_path / "feedback.npz").notes == ["all of it guessed"]
    with pytest.raises(ValueError, match="the notes must be a list of texts"):
        store.load_state_dict(store.state_dict() | {"notes": [3]})


def test_the_dataset_that_the_labels_are_of_is_kept(tmp_path):
    store = store_with_answers()
    assert "dataset" not in store.state_dict()  # of a run
    store.dataset = DatasetIdentity(name="mine", checksum="0f" * 32, num_episodes=7)
    store.save(tmp_path / "feedback.npz")
    assert FeedbackStore.load(tmp_path / "feedback.npz").dataset == store.dataset
    with pytest.raises(ValueError, match="num_episodes of a dataset must be int, got 'seven'"):
        store.load_state_dict(
            store.state_dict() | {"dataset": store.dataset.plain() | {"num_episodes": "seven"}}
        )
    assert store.dataset.num_episodes == 7


def test_an_empty_record_is_read_back(tmp_path):
    FeedbackStore().save(tmp_path / "feedback.npz")
    assert_same(FeedbackStore.load(tmp_path / "feedback.npz"), FeedbackStore())


def test_a_path_is_taken_as_it_is(tmp_path):
    store_with_answers().save(str(tmp_path / "record"))
    assert [path.name for path in tmp_path.iterdir()] == ["record"]
    assert FeedbackStore.load(str(tmp_path / "record")).num_asked == 4


def test_a_failed_save_keeps_the_earlier_record(tmp_path, monkeypatch):
    path = tmp_path / "feedback.npz"
    store = store_with_answers()
    store.save(path)
    before = path.read_bytes()
    store.ask(SegmentIndex.empty(1, 2), step=300)

    def full_disk(file, **arrays):
        file.write(b"half a record")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pbrl.feedback_file.np, "savez_compressed", full_disk)
    with pytest.raises(OSError, match="No space left"):
        store.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        FeedbackStore.load(tmp_path / "nothing.npz")


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00", b"\x80\x04]\x94.", b"{}", bytes(1000)]
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    assert_refused(path, "")


def test_pickled_objects_are_refused_and_not_run(tmp_path):
    arrays = saved_arrays(tmp_path)
    path = tmp_path / "hostile.npz"
    for name in ("labels", "header", "extra"):
        np.savez(path, **arrays | {name: np.array([Bomb()], dtype=object)})
        assert_refused(path, "allow_pickle=False")
    np.save(tmp_path / "hostile.npy", np.array([Bomb()], dtype=object))
    assert_refused(tmp_path / "hostile.npy", "")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("labels", np.array([1.0, 0.5, np.nan, 0.25]), "labels must be torch.float32"),
        ("labels", np.array([1.0, 0.5, 2.0, 0.25], np.float32), "found 2.0"),
        ("labels", np.zeros(3, np.float32), "labels must have 4 entries, found 3"),
        ("labels", np.zeros((4, 1), np.float32), "labels .* with 1 axes"),
        ("labels", np.array(["1", "0", "1", "0"]), "can't convert"),
        ("labels", np.zeros(4, ">f4"), "."),
        ("weights", np.array([1.0, -1.0, 1.0, 1.0], np.float32), "weight .* found -1.0"),
        ("weights", np.array([1.0, np.nan, 1.0, 1.0], np.float32), "weight .* found nan"),
        ("times", np.zeros(5), "times must have 4 entries, found 5"),
        ("times", np.zeros(4, np.float32), "times must be torch.float64"),
        ("answered", np.array([0, 1, 2, 4]), "answered must lie in 0 to 3, found 0 to 4"),
        ("answered", np.array([0, 1, 2, -1]), "answered must lie in 0 to 3, found -1 to 2"),
        ("answered", np.zeros(4), "answered must be torch.int64"),
        ("annotator", np.array([0, 0, 0, 2]), "annotator must lie in 0 to 1, found 0 to 2"),
        ("index", np.zeros((3, 5, 2), np.int64), r"index must have shape \(3, 4, 2\)"),
        ("index", np.zeros((2, 4, 2), np.int64), r"index must have shape \(3, 4, 2\)"),
        ("index", np.full((3, 4, 2), -1), "index must lie in 0 to 2147483647, found -1"),
        ("index", np.full((3, 4, 2), 2**62), "index must lie in 0 to 2147483647"),
        ("asked_at", np.zeros((4, 1), np.int64), "asked_at .* with 1 axes"),
        ("extra", np.zeros(1), "found .*extra"),
        ("header", np.array("[]"), "."),
        ("header", np.array("{"), "."),
        ("header", np.array('{"format": 2, "annotators": []}'), "expected format 1, found 2"),
        ("header", np.array('{"format": 1}'), "annotators"),
        ("header", np.array('{"format": 1, "annotators": "ab"}'), "list of names"),
        ("header", np.array('{"format": 1, "annotators": [1, 2]}'), "list of names"),
        ("header", np.array('{"format": 1, "annotators": ["a", "a"]}'), "different names"),
        ("header", np.array("[" * 100_000), "."),
        ("header", np.zeros(3), "."),
    ],
)
def test_tampered_records_are_refused(tmp_path, name, value, message):
    path = tmp_path / "tampered.npz"
    np.savez(path, **saved_arrays(tmp_path) | {name: value})
    assert_refused(path, message)


@pytest.mark.parametrize("name", ["header", "labels", "index"])
def test_missing_arrays_are_named(tmp_path, name):
    arrays = saved_arrays(tmp_path)
    del arrays[name]
    np.savez(tmp_path / "short.npz", **arrays)
    assert_refused(tmp_path / "short.npz", name if name == "header" else "expected the keys")


def test_members_that_are_no_arrays_are_refused(tmp_path):
    arrays = saved_arrays(tmp_path)
    del arrays["labels"]
    np.savez(tmp_path / "mixed.npz", **arrays)
    with zipfile.ZipFile(tmp_path / "mixed.npz", "a") as archive:
        archive.writestr("labels.npy", b"not an array")
    assert_refused(tmp_path / "mixed.npz", "")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_in_another_compression_is_refused(tmp_path, method):
    path = tmp_path / "packed.npz"
    labels = np.random.default_rng(0).random(1000, np.float32)
    content = io.BytesIO()
    np.save(content, labels)
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("labels.npy", content.getvalue())
    damaged = bytearray(path.read_bytes())
    damaged[200:900] = bytes(700)
    path.write_bytes(damaged)
    assert_refused(path, "")


def test_a_header_that_promises_too_much_is_refused(tmp_path):
    # A few bytes that claim to be an array of 800 TB.
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f8", "fortran_order": False, "shape": (10**14,)}
    )
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("labels.npy", content.getvalue())
    assert_refused(tmp_path / "huge.npz", "")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "feedback.npz"
    store_with_answers().save(path)
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    monkeypatch.setattr(pbrl.feedback_file, "MAX_BYTES", size - 1)
    assert_refused(path, f"unpacks to {size} bytes")
    monkeypatch.setattr(pbrl.feedback_file, "MAX_BYTES", size)
    assert FeedbackStore.load(path).num_asked == 4


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("record") / "feedback.npz"
    store_with_answers().save(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def damaged_path(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "damaged.npz"


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_record_is_refused_or_the_same(record, damaged_path, data):
    damaged = bytearray(record)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    length = data.draw(st.one_of(st.just(len(damaged)), st.integers(0, len(damaged))))
    damaged_path.write_bytes(damaged[:length])
    try:
        loaded = FeedbackStore.load(damaged_path)
    except ValueError as error:
        assert "is not a feedback record" in str(error)  # noqa: PT017  both ends are legal
    else:
        original = io.BytesIO(record)
        with np.load(original) as arrays:
            for name, value in loaded.state_dict().items():
                if name != "names":
                    np.testing.assert_array_equal(value.numpy(), arrays[name])
            assert loaded.annotators == tuple(json.loads(str(arrays["header"]))["annotators"])
