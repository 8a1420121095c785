import enum
from dataclasses import dataclass
from pathlib import Path

import pytest

from pbrl.training.files import differences, plain, read_json, write_json, write_text


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Inner:
    sizes: tuple[int, ...]
    colour: Colour


def test_plain_knows_dataclasses_tuples_enums_and_paths():
    value = {"inner": Inner((1, 2), Colour.RED), "path": Path("runs") / "a", "none": None}
    assert plain(value) == {
        "inner": {"sizes": [1, 2], "colour": "red"},
        "path": "runs/a",
        "none": None,
    }


def test_plain_refuses_what_json_would_lose():
    with pytest.raises(TypeError, match="set"):
        plain({"x": {1}})


def test_differences_name_each_field():
    stored = {"a": 1, "b": {"c": [1, 2], "d": None}, "nan": float("nan")}
    present = {"a": 1, "b": {"c": [1, 3], "d": None}, "nan": float("nan"), "e": "new"}
    assert differences(stored, present) == ["b.c: [1, 2] -> [1, 3]", 'e: (nothing) -> "new"']


def test_innermost_lists_take_one_line(tmp_path):
    value = {"curve": [[1, 2.5, None], [2, -3.0, "a [\n b"]], "empty": [], "objects": [{"a": [1]}]}
    write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json") == value
    assert "    [1, 2.5, null],\n" in (tmp_path / "file.json").read_text()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.json"
    write_json(path, {"a": 1})
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half\udc80")
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_reading_something_else_names_the_file(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json is not a JSON file"):
        read_json(path)
