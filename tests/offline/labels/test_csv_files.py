import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pbrl.offline.labels import csv_files
from pbrl.offline.labels.csv_files import read_csv
from pbrl.offline.labels.export import export_labels

EPISODES = "episode_0,start_0,length_0,episode_1,start_1,length_1,label"
ROWS = "start_0,start_1,length,label"


def write(tmp_path, text: str, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_bytes(text.encode(encoding))
    return path


def test_segments_by_episode(tmp_path):
    text = f"{EPISODES},weight,annotator\n0,5,10,1,0,10,1,0.5,ann\n2,0,4,0,3,4,skip,1,bob\n"
    table = read_csv(write(tmp_path, text))
    assert table.named_by == "episodes"
    assert table.segments.tolist() == [[[0, 5, 10], [1, 0, 10]], [[2, 0, 4], [0, 3, 4]]]
    assert table.labels[0] == 1.0
    assert math.isnan(table.labels[1])
    assert table.weights.tolist() == [0.5, 1.0]
    assert table.annotators == ("ann", "bob")


def test_segments_by_row(tmp_path):
    table = read_csv(write(tmp_path, f"{ROWS}\r\n100,300,50,0.25\r\n7,8,9,0.5\r\n"))
    assert table.named_by == "rows"
    assert table.segments.tolist() == [[[100, 50], [300, 50]], [[7, 9], [8, 9]]]
    assert table.labels.tolist() == [0.25, 0.5]
    assert table.annotators == ("unknown", "unknown")


def test_columns_may_stand_in_any_order_and_a_spreadsheets_mark_is_passed_over(tmp_path):
    path = write(tmp_path, 'label,"length",start_1,start_0,time\n1,5,20,10,2024\n', "utf-8-sig")
    table = read_csv(path)
    assert table.segments.tolist() == [[[10, 5], [20, 5]]]


def test_a_file_of_a_header_alone_has_no_answers(tmp_path):
    assert len(read_csv(write(tmp_path, EPISODES))) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "columns episode_0, start_0, length_0, episode_1, .* are missing"),
        ("start_0,length,label\n", "columns start_1 are missing"),
        (f"{ROWS},wieght\n", "unknown column 'wieght'; did you mean 'weight'"),
        (f"{ROWS},label\n", "a column comes twice"),
        (f"{ROWS}\n1,2,3\n", "line 2 has 3 fields, the header 4"),
        (f"{ROWS}\n1,2,3,1\n\n", "line 3 has 0 fields"),
        (f"{ROWS}\n1,2,3,2\n", "line 2, label: .* from 0 to 1, or skip, found '2'"),
        (f"{ROWS}\n1,2,3,-1\n", "line 2, label: .* found '-1'"),
        (f"{ROWS}\n1,2,3,\n", "line 2, label: .* found ''"),
        (f"{ROWS}\n1,2,3,nan\n", "line 2, label"),
        (f"{ROWS}\n1,2,3,second\n", "found 'second'"),
        (f"{ROWS}\n1.5,2,3,1\n", "line 2, start_0: expected a whole number from 0 on, found '1.5'"),
        (f"{ROWS}\n1,-2,3,1\n", "line 2, start_1: .* found '-2'"),
        (f"{ROWS}\n1,2,{10**30},1\n", "line 2, length"),
        (f"{ROWS}\n1,2,{2**31},1\n", "line 2, length: 2147483648 is too large"),
        (f"{ROWS}\n1,²,3,1\n", "line 2, start_1"),
        (f"{ROWS},weight\n1,2,3,1,-1\n", "line 2, weight: expected a number from 0 on"),
        (f"{ROWS},weight\n1,2,3,1,inf\n", "line 2, weight"),
        (f'{ROWS}\n1,2,3,"1\n', "labels.csv"),
        (f"{ROWS}\n1,2,3,1\0\n", "labels.csv"),
    ],
)
def test_bad_files_are_refused_with_line_and_column(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read_csv(write(tmp_path, text))
    assert "labels.csv" in str(error.value)


def test_another_encoding_is_refused(tmp_path):
    with pytest.raises(ValueError, match="labels.csv: 'utf-8' codec"):
        read_csv(write(tmp_path, f"{ROWS},annotator\n1,2,3,1,Jürgen\n", "latin-1"))


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_files, "MAX_BYTES", 10)
    with pytest.raises(ValueError, match="a CSV of labels may have 10"):
        read_csv(write(tmp_path, ROWS))


labels = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.just(math.nan))
names = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=10)


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), labels, names), max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_exported_comes_back(tmp_path, answers):
    text = "".join(f"0,{start},5,1,{other},5,skip\n" for start, other, _, _ in answers)
    table = read_csv(write(tmp_path, f"{EPISODES}\n{text}"))
    table.labels[:] = [label for *_, label, _ in answers]
    object.__setattr__(table, "annotators", tuple(name for *_, name in answers))
    export_labels(table, tmp_path / "out.csv")
    found = read_csv(tmp_path / "out.csv")
    assert found.segments.tolist() == table.segments.tolist()
    assert str(found.labels.tolist()) == str(table.labels.tolist())
    assert found.annotators == table.annotators
