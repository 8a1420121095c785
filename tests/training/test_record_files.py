import pytest

from pbrl.training.record_files import open_files
from pbrl.training.records import Records
from tests.training.launchers.standins import run_of
from tests.training.records import make_result


@pytest.fixture(params=["folder", "file", "memory"])
def place(request, tmp_path):
    name = request.node.originalname + tmp_path.name
    return {
        "folder": tmp_path / "a" / "b",
        "file": f"file://{tmp_path}/a/b",
        "memory": f"memory://{name}/a/b",
    }[request.param]


def test_what_is_written_is_read(place):
    files = open_files(place)
    assert files.names() == set()
    assert files.read([]) == {}
    files.write("one.json", "1\n")
    files.write("two.json", "zwei\u00e4")
    files.write("one.json", "one")
    assert files.names() == {"one.json", "two.json"}  # and nothing unfinished
    assert files.read(["two.json", "one.json"]) == {"one.json": "one", "two.json": "zwei\u00e4"}
    assert files.path("one.json").endswith("a/b/one.json")


def test_records_lie_anywhere(place):
    records, runs = Records(place), [run_of("qpa", seed) for seed in range(3)]
    assert records.missing(runs) == runs
    for run in (runs[2], runs[0], runs[0]):
        records.add(run, make_result(seed=run.seed))
    assert records.missing(runs) == [runs[1]]
    assert [record.seed for record in Records(place).load(runs)] == [0, 2]


def test_a_write_cut_short_leaves_the_file_as_it_was(monkeypatch):
    files = open_files("memory://cut/short")
    files.write("a", "old")
    monkeypatch.setattr(files._files, "mv", _fail)
    with pytest.raises(OSError, match="the line is dead"):
        files.write("a", "new")
    assert files.read(["a"]) == {"a": "old"}


def _fail(*arguments):
    raise OSError("the line is dead")


def test_an_unknown_kind_of_url_is_named():
    with pytest.raises(ValueError, match="Protocol not known: nowhere"):
        open_files("nowhere://bucket/folder")
