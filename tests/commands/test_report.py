from pbrl.commands.report import CURVES, labels_line, report_run, report_seeds
from pbrl.training.result import Result
from tests.training.records import make_result


def test_a_report_is_a_table_and_a_curve(tmp_path, capsys):
    result = Result(
        agent="qpa",
        env="gym/Pendulum-v1",
        seed=0,
        steps=200,
        labels_asked=20,
        labels_given=19,
        score_name="return",
        score=-300.0,
        score_evaluations=1,
        curve=((100, -900.0, 10), (200, -300.0, 20)),
        wall_seconds=1.0,
        updates_per_second=1.0,
        random_score=-1200.0,
        versions={},
        machine={},
        config={},
    )
    report_run(tmp_path, result, video=False, oracle_score=-150.0)
    shown = capsys.readouterr().out
    for number in ("-300.0", "-1,200.0", "-150.0", "20", "labels: 20 asked, 19 given\n"):
        assert number in shown
    assert (tmp_path / CURVES).read_bytes().startswith(b"\x89PNG")


def test_a_teacher_who_gave_nothing_stands_in_the_summary(tmp_path, capsys):
    said = "labels: 20 asked, 0 given: the policy learned from no preference at all"
    result = make_result(labels_given=0)
    assert labels_line(result) == said
    report_seeds({3: tmp_path / "qpa-3"}, [result])
    assert f"seed 3: return 25.00, {said}, " in capsys.readouterr().out


def test_nothing_is_said_of_labels_where_none_were_asked():
    assert labels_line(make_result(agent="sac")) == ""
    assert labels_line(make_result(dataset="pairs")) == ""
