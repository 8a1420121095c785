import json
from dataclasses import replace

import pytest

from pbrl.training.result import Result, final_score


def result(**changes):
    fields = {
        "agent": "qpa", "env": "dmc/walker-walk", "seed": 0, "steps": 300, "labels_asked": 20,
        "labels_given": 18, "score_name": "return", "score": 25.0, "score_evaluations": 2,
        "curve": ((100, 10.0, 0), (200, 20.0, 10), (300, 30.0, 20)), "wall_seconds": 1.5,
        "updates_per_second": 100.0, "versions": {"python": "3.11"},
        "machine": {"cpu": "x", "cores": 2, "gpu": None}, "config": {"seed": 0},
    }  # fmt: skip
    return Result(**{**fields, **changes})


def test_a_record_comes_back_equal(tmp_path):
    record = result(random_score=1.0, oracle_score=900.0, control="shuffled-labels", suite="s")
    record.save(tmp_path / "result.json")
    assert Result.load(tmp_path / "result.json") == record


def test_measures_come_back_and_older_records_have_none(tmp_path):
    path = tmp_path / "result.json"
    record = result(measures={"reward/correlation": ((100, 0.25), (200, 1.0))})
    record.save(path)
    assert Result.load(path) == record
    data = json.loads(path.read_text())
    assert data["measures"] == {"reward/correlation": [[100, 0.25], [200, 1.0]]}
    del data["measures"]
    path.write_text(json.dumps(data))
    assert Result.load(path).measures == {}


@pytest.mark.parametrize(
    "measures", [[], {"a": 1.0}, {"a": [1.0]}, {"a": [[1.0, 2.0]]}, {"a": [[1, float("nan")]]}]
)
def test_measures_are_points_by_name(tmp_path, measures):
    path = tmp_path / "result.json"
    result().save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"measures": measures}))
    with pytest.raises(ValueError, match=r"measures: expected lists of \[step, value\] by name"):
        Result.load(path)


def test_the_file_has_the_fields_of_the_schema(tmp_path):
    result().save(tmp_path / "result.json")
    data = json.loads((tmp_path / "result.json").read_text())
    assert {
        "schema", "suite", "agent", "env", "dataset", "seed", "control", "steps", "labels_asked",
        "labels_given", "score_name", "score", "curve", "random_score", "oracle_score",
        "wall_seconds", "updates_per_second", "versions", "machine", "commit", "config",
    } <= set(data)  # fmt: skip
    assert data["dataset"] is None
    assert data["curve"][1] == [200, 20.0, 10]


def test_the_score_is_the_mean_of_the_last_and_not_the_best():
    curve = [(1, 100.0, 0), (2, 1.0, 0), (3, 2.0, 0)]
    assert final_score(curve, 2) == 1.5
    assert final_score(curve, 9) == pytest.approx(103.0 / 3)
    with pytest.raises(ValueError, match="at least one evaluation"):
        final_score([], 2)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", -1, "an integer from 0"),
        ("seed", True, "an integer from 0"),
        ("schema", 2, "1, the schema"),
        ("control", "none at all", "one of none, shuffled-labels, flipped-labels"),
        ("score", float("nan"), "a finite number"),
        ("agent", "", "a name"),
        ("curve", [], "a list of"),
        ("curve", [[1, 2.0]], "a list of"),
        ("curve", [[2, 2.0, 0], [1, 2.0, 0]], "by step"),
        ("machine", {"host": "box"}, "cpu, cores and gpu alone"),
        ("random_score", "7", "a finite number or null"),
        ("config", [], "an object"),
    ],
)
def test_a_wrong_field_is_named_with_what_came_and_what_was_expected(
    tmp_path, key, value, expected
):
    path = tmp_path / "result.json"
    result().save(path)
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, key: value}))
    with pytest.raises(ValueError, match=expected) as caught:
        Result.load(path)
    assert str(path) in str(caught.value)
    assert f"{key}: " in str(caught.value)


def test_missing_and_unknown_fields_are_named(tmp_path):
    path = tmp_path / "result.json"
    result().save(path)
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "colour": 1}))
    with pytest.raises(ValueError, match="colour: no such field"):
        Result.load(path)
    del data["env"]
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match="env: expected an environment id or null, got nothing"):
        Result.load(path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="expected an object"):
        Result.load(path)


def test_a_success_rate_lies_between_zero_and_one():
    success = result(score_name="success", score=0.5, curve=((1, 0.5, 0),))
    with pytest.raises(ValueError, match="success rate"):
        replace(success, score=50.0)
    with pytest.raises(ValueError, match="success rate"):
        replace(success, curve=((1, 1.5, 0),))


def test_a_dataset_may_have_no_environment_but_something_was_learned_from(tmp_path):
    curve = ((100, 0.5, 0), (200, 0.7, 0))
    changes = {"env": None, "dataset": "walks", "score_name": "label_accuracy", "curve": curve}
    made = result(score=0.7, **changes)
    assert (made.task, result().task) == ("walks", "dmc/walker-walk")
    made.save(tmp_path / "result.json")
    assert Result.load(tmp_path / "result.json") == made
    with pytest.raises(ValueError, match="expected an environment id or a dataset, got neither"):
        result(env=None)
    with pytest.raises(ValueError, match="accuracy on held-out labels in"):
        result(score=1.5, **changes)
