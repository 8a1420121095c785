from pbrl.commands.report import CURVES, report_run
from pbrl.training.result import Result


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
    for number in ("-300.0", "-1,200.0", "-150.0", "20"):
        assert number in shown
    assert (tmp_path / CURVES).read_bytes().startswith(b"\x89PNG")
