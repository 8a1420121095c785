import numpy as np
import pytest

from pbrl.training.tables import markdown, recovery_table, run_table, suite_table
from tests.training.records import make_result


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def table(results):
    lines = suite_table(results, np.random.default_rng(0)).splitlines()
    rows = [dict(zip(cells(lines[0]), cells(line), strict=True)) for line in lines[2:-2]]
    return rows, lines[-1]


def test_a_suite_by_hand():
    # The last two of each curve count: seeds 0 and 1 score 25 and 35; the oracle 105, random 5.
    rows, note = table(
        [
            make_result(),
            make_result(seed=1, scores=(0, 30, 40)),
            make_result(agent="sac", scores=(0, 100, 110)),
        ]
    )
    qpa, oracle = rows
    assert (qpa["seeds"], qpa["steps"], qpa["labels"], qpa["mean"]) == ("2", "300", "20", "30.0")
    assert qpa["interquartile mean [95 %]"] == "30.0 [25.0, 35.0]"
    assert (qpa["random"], qpa["true reward"], qpa["share"]) == ("5.0", "105.0", "20%")  # of seed 0
    assert (oracle["method"], oracle["score"], oracle["mean"]) == ("sac", "return", "105.0")
    assert oracle["interquartile mean [95 %]"] == "105.0"
    assert "last 2 evaluations" in note
    assert "no method is ranked" in note


def test_shares_are_of_the_seeds_that_both_have_or_of_what_there_is():
    runs = [make_result(seed=1, scores=(0, 30, 40)), make_result(agent="sac", scores=(0, 100, 110))]
    assert table(runs)[0][0]["share"] == "30%"
    other = make_result(agent="sac", seed=1, scores=(0, 60, 70))
    assert [row["share"] for row in table([*runs, other])[0]] == ["50%", "100%"]


def test_controls_are_methods_of_their_own_and_unknown_scores_a_dash():
    rows, _ = table(
        [make_result(random_score=None), make_result(random_score=None, control="flipped-labels")]
    )
    assert [row["method"] for row in rows] == ["qpa", "qpa, flipped-labels"]
    assert [row["random"] + row["true reward"] + row["share"] for row in rows] == ["–––"] * 2


def test_ten_seeds_leave_the_ranking_to_the_intervals():
    _, note = table([make_result(seed=seed) for seed in range(10)])
    assert "no method is ranked" not in note


def test_a_run_shows_its_last_evaluation_and_few_of_many():
    lines = run_table(make_result(range(100), oracle_score=900.0)).splitlines()
    assert cells(lines[0]) == ["steps", "labels", "true return", "random", "true reward"]
    assert len(lines) == 2 + 12
    assert cells(lines[2]) == ["100", "0", "0.0", "5.0", "900.0"]
    assert cells(lines[-1]) == ["10,000", "990", "99.0", "5.0", "900.0"]


def test_success_has_two_digits():
    result = make_result((0.0, 0.25), score_name="success", random_score=0.0)
    assert cells(run_table(result).splitlines()[-1])[2:] == ["0.25", "0.00", "–"]


def test_recovery_of_the_reward_by_hand():
    # The last two of each run count: 0.5 and 0.7, and nothing is said of segments.
    one, two = (
        {"reward/correlation": tuple((100 * step, value) for step, value in enumerate(values))}
        for values in ((-1.0, 0.4, 0.6), (0.6, 0.8))
    )
    both = {**two, "reward/segment_correlation": ((100, 0.9),)}
    results = [
        make_result(agent="sac"),
        make_result(measures=one),
        make_result(measures=two, seed=1),
        make_result(agent="pebble", measures=both),
    ]
    lines = recovery_table(results).splitlines()
    assert cells(lines[0]) == [
        "task", "method", "seeds", "correlation over steps", "over sums of segments",
    ]  # fmt: skip
    assert cells(lines[2]) == ["dmc/walker-walk", "qpa", "2", "0.60 (0.50)", "–"]
    assert cells(lines[3]) == ["dmc/walker-walk", "pebble", "1", "0.70 (0.70)", "0.90 (0.90)"]
    assert recovery_table(results[:1]) == ""


def test_columns_line_up():
    assert markdown(["a", "long"], [["1234", "5"]]) == (
        "| a    | long |\n| ---- | ---- |\n| 1234 | 5    |"
    )


def test_no_records_no_table():
    with pytest.raises(ValueError, match="no records"):
        suite_table([], np.random.default_rng(0))
