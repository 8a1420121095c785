import pytest

from pbrl.commands.plot import load_results, main
from tests.training.records import make_result


def save(path, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    make_result(**changes).save(path)


def test_runs_and_records_are_found_each_once(tmp_path):
    save(tmp_path / "runs" / "a" / "result.json", seed=0)
    save(tmp_path / "runs" / "b" / "result.json", seed=1)
    (tmp_path / "runs" / "a" / "config.json").write_text("{}")
    save(tmp_path / "records" / "x.json", seed=2)
    paths = [tmp_path / "runs", tmp_path / "records", tmp_path / "runs" / "a"]
    assert [result.seed for result in load_results(paths)] == [0, 1, 2]
    assert [result.seed for result in load_results([tmp_path / "records" / "x.json"])] == [2]


def test_a_figure_and_a_table(tmp_path, capsys):
    save(tmp_path / "x.json")
    out = tmp_path / "figures" / "curves.png"
    main([str(tmp_path / "x.json"), "--against", "labels", "--out", str(out)])
    assert out.stat().st_size > 0
    assert "| dmc/walker-walk | qpa" in capsys.readouterr().out


def test_records_of_something_else_are_named_and_left_out(tmp_path, capsys):
    save(tmp_path / "records" / "x.json")
    (tmp_path / "records" / "labels").mkdir()
    (tmp_path / "records" / "labels" / "report.json").write_text('{"kind": "label-report"}')
    main([str(tmp_path / "records"), "--out", str(tmp_path / "curves.svg")])
    said = capsys.readouterr().out
    assert "| dmc/walker-walk | qpa" in said
    assert f"not of runs, left out: {tmp_path}/records/labels/report.json" in said
    with pytest.raises(FileNotFoundError, match="labels holds no"):
        load_results([tmp_path / "records" / "labels"])


def test_a_broken_record_is_not_left_out(tmp_path):
    save(tmp_path / "x.json")
    (tmp_path / "y.json").write_text('{"agent": "qpa", "curve": []}')
    with pytest.raises(ValueError, match=r"y\.json: schema: expected 1"):
        load_results([tmp_path])


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent holds no.*there is nothing of that name"):
        load_results([tmp_path / "absent"])
    with pytest.raises(FileNotFoundError, match="give folders that hold complete runs, or"):
        load_results([tmp_path])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="not complete, `--resume` of the command"):
        load_results([tmp_path])
    (tmp_path / "data.npz").write_bytes(b"\xa7")
    for name in ("config.json", "data.npz"):
        with pytest.raises(ValueError, match=f"{name} is not the record of a run: give a result"):
            load_results([tmp_path / name])
