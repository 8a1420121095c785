import pytest

from pbrl.queries.human.report import is_same, study_report


def prefer(own):
    return lambda assignment: {"label": float(assignment.order.index(own))}


def left(_assignment):
    return {"label": 0}


def report_of(bench):
    with bench.database.reading() as connection:
        return study_report(connection, bench.study)


def test_two_people_on_the_same_queries(make_bench):
    bench = make_bench(labels_per_query=2)
    bench.ask(8)
    ada, ben = bench.invite("ada"), bench.invite("ben")
    bench.invite("owner", "owner")
    for _ in range(6):
        bench.label(ada, prefer(1))
    for own in (1, 1, 1, 1, 0, 0):
        bench.label(ben, prefer(own) if own else prefer(0))
    report = report_of(bench)
    assert (report.num_queries, report.num_answers, report.num_wanted) == (8, 12, 16)
    assert [one.person.name for one in report.people] == ["ada", "ben"]
    assert report.alpha.num_items == report.kappa.num_items
    assert report.choices["second"] == 10
    assert report.num_conflicts == len(report.conflicts)


def test_conflicts_name_the_clips_and_who_said_what(make_bench):
    bench = make_bench(labels_per_query=2)
    bench.ask(2)
    ada, ben = bench.invite("ada"), bench.invite("ben")
    for own in (0, 1):
        bench.label(ada, prefer(own))
    for own in (0, 0):
        bench.label(ben, prefer(own))
    report = report_of(bench)
    assert report.num_done == 2
    (conflict,) = report.conflicts
    assert conflict.query_key == "query 1"
    assert conflict.answers == (("ada", "second"), ("ben", "first"))
    assert [is_film for _, is_film in conflict.clips] == [False, False]
    assert report.kappa.value == pytest.approx(0.0)  # 1 of 2 agree; so would chance


def test_a_habit_of_the_left_is_seen(sqlite_bench):
    bench = sqlite_bench()
    bench.ask(24)
    ada, ben = bench.invite("ada"), bench.invite("ben")
    for _ in range(12):
        bench.label(ada, left)
        bench.label(ben, prefer(1))
    ada_report, ben_report = report_of(bench).people
    assert ada_report.left.value == 1.0
    assert ada_report.left.low > 0.5
    assert ben_report.left.low < 0.5 < ben_report.left.high
    assert ada_report.median_seconds == 1.5
    assert ada_report.last_answer_at == 1_000.0


def test_gold_questions_and_repeats_are_judged(sqlite_bench):
    bench = sqlite_bench(gold_every=1, repeat_every=2, repeat_gap=0)
    bench.ask(6)
    bench.ask(4, gold={"label": 1}, prefix="gold")
    ada = bench.invite("ada")
    turned = iter([1, 0])

    def answer(assignment):
        if assignment.purpose == "gold":
            return prefer(assignment.query_id % 2)(assignment)
        if assignment.purpose == "repeat":
            return prefer(next(turned, 1))(assignment)
        return prefer(1)(assignment)

    while bench.label(ada, answer):
        pass
    (report,) = report_of(bench).people
    assert (report.gold.cases, report.gold.value) == (4, 0.5)
    assert report.consistency.cases == 3
    assert report.consistency.value == pytest.approx(2 / 3)


def test_who_cannot_tell_is_counted(sqlite_bench):
    bench = sqlite_bench()
    bench.ask(3)
    ada = bench.invite("ada")
    for value in (None, None, {"label": 0.5}):
        bench.label(ada, lambda _, value=value: value)
    report = report_of(bench)
    assert report.people[0].num_cannot_tell == 2
    assert report.choices == {"can't tell": 2, "equal": 1}
    assert (report.kappa, report.alpha) == (None, None)
    assert report.num_done == 3


def test_rankings_agree_by_their_pairs(sqlite_bench):
    bench = sqlite_bench(kind="ranking", ranking_size=3, labels_per_query=2)
    bench.ask(2)
    ada, ben = bench.invite("ada"), bench.invite("ben")

    def rank(*own):
        return lambda one: {"ranking": [one.order.index(place) for place in own]}

    for person, orders in ((ada, [(0, 1, 2), (2, 1, 0)]), (ben, [(0, 1, 2), (2, 0, 1)])):
        for own in orders:
            bench.label(person, rank(*own))
    report = report_of(bench)
    assert report.alpha.num_items == 6
    assert report.num_conflicts == 1
    # Five of six pairs agree, each has first 4 and second 2 or first 3 and second 3: p_e = 1/2.
    assert report.kappa.value == pytest.approx((5 / 6 - 1 / 2) / (1 - 1 / 2))


def test_an_empty_study_can_be_looked_at(bench):
    report = report_of(bench)
    assert (report.num_queries, report.people, report.alpha) == (0, (), None)


def test_moments_need_not_agree():
    value = {"label": 1.0, "moment": [3, 4]}
    assert is_same(value, value | {"moment": [0, 9]})
    assert not is_same(value, value | {"label": 0.0})
    assert is_same(None, None)
    assert not is_same(None, value)
