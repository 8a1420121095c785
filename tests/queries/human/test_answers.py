import threading

import pytest
from sqlalchemy import select

from pbrl.queries.human import current_answers, tables, undo_answer
from pbrl.queries.human.answers import num_answered
from pbrl.queries.human.errors import Conflict, NotFound


@pytest.fixture
def ada(bench):
    bench.ask(4)
    return bench.invite("ada")


def answers_of(bench):
    with bench.database.reading() as connection:
        return current_answers(connection, bench.study.id)


def rows_of(bench):
    with bench.database.reading() as connection:
        return connection.execute(select(tables.answer).order_by(tables.answer.c.id)).all()


def undo(bench, person, key="undo"):
    with bench.database.writing() as connection:
        return undo_answer(connection, person, key=key, now=bench.now)


def test_an_answer_speaks_of_the_querys_own_order(bench, ada):
    for _ in range(4):
        assignment = bench.next(ada)[0]
        bench.answer(ada, assignment, {"label": 1})  # the right one
        right = assignment.order[1]
        assert answers_of(bench)[-1].value == {"label": float(right)}
    assert {answer.order for answer in answers_of(bench)} == {(0, 1), (1, 0)}


def test_what_is_known_about_an_answer(bench, ada):
    assignment = bench.next(ada)[0]
    bench.answer(ada, assignment, None)
    (answer,) = answers_of(bench)
    assert (answer.query_key, answer.annotator, answer.purpose) == ("query 0", "ada", "plain")
    assert (answer.value, answer.seconds, answer.answered_at) == (None, 1.5, 1_000.0)


def test_the_same_request_counts_once(bench, ada):
    assignment = bench.next(ada)[0]
    once = bench.answer(ada, assignment, {"label": 1}, key="k")
    again = bench.answer(ada, assignment, {"label": 1}, key="k")
    assert (once.is_new, again.is_new) == (True, False)
    assert once.answer_id == again.answer_id
    assert len(rows_of(bench)) == 1


def test_a_key_names_one_request(bench, ada):
    one, two = bench.next(ada, 2)
    bench.answer(ada, one, {"label": 1}, key="k")
    with pytest.raises(Conflict, match="another query"):
        bench.answer(ada, two, {"label": 1}, key="k")


def test_the_first_of_two_tabs_counts(bench, ada):
    assignment = bench.next(ada)[0]
    bench.answer(ada, assignment, {"label": 1})
    with pytest.raises(Conflict, match="answered already"):
        bench.answer(ada, assignment, {"label": 0})
    assert len(rows_of(bench)) == 1


def test_many_requests_at_once_leave_one_answer(bench, ada):
    assignment = bench.next(ada)[0]
    outcomes = []

    def answer(number):
        try:
            outcomes.append(bench.answer(ada, assignment, {"label": 1}, key=f"k{number % 2}"))
        except Conflict as error:
            outcomes.append(error)

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows_of(bench)) == 1
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 4
    assert [outcome.is_new for outcome in outcomes if not isinstance(outcome, Conflict)].count(
        True
    ) == 1


def test_undo_is_a_row_and_the_answer_stays_in_the_record(bench, ada):
    assignment = bench.next(ada)[0]
    bench.answer(ada, assignment, {"label": 1})
    undone = undo(bench, ada)
    assert undone.assignment_id == assignment.id
    assert answers_of(bench) == []
    bench.answer(ada, assignment, {"label": 0.5})
    assert [answer.value for answer in answers_of(bench)] == [{"label": 0.5}]
    assert [row.is_undo for row in rows_of(bench)] == [False, True, False]
    assert [row.turn for row in rows_of(bench)] == [0, 1, 2]


def test_undo_goes_back_step_by_step(bench, ada):
    shown = [bench.label(ada, lambda _: {"label": 0}) for _ in range(3)]
    undone = [undo(bench, ada, key=f"u{number}") for number in range(4)]
    assert [one.assignment_id for one in undone[:3]] == [one.id for one in reversed(shown)]
    assert undone[3] is None


def test_undo_counts_once_too(bench, ada):
    for _ in range(2):
        bench.label(ada, lambda _: {"label": 0})
    assert undo(bench, ada, "u").answer_id == undo(bench, ada, "u").answer_id
    assert len(answers_of(bench)) == 1


def test_an_undone_query_is_wanted_again(bench, ada):
    bench.label(ada, lambda _: {"label": 0})
    undo(bench, ada)
    ben = bench.invite("ben")
    assert bench.next(ben)[0].query_id == 2  # ada has the first again
    bench.wait(61)
    assert bench.next(ben)[0].query_id == 2
    with bench.database.reading() as connection:
        numbers = connection.execute(select(tables.query.c.num_answers)).scalars().all()
    assert numbers == [0, 0, 0, 0]


def test_others_answers_are_not_undone(bench, ada):
    bench.label(ada, lambda _: {"label": 0})
    ben = bench.invite("ben")
    assert undo(bench, ben) is None
    assert len(answers_of(bench)) == 1


def test_others_queries_are_not_answered(bench, ada):
    assignment = bench.next(ada)[0]
    with pytest.raises(NotFound):
        bench.answer(bench.invite("ben"), assignment, {"label": 0})


@pytest.mark.parametrize("value", [{"label": 2}, {"label": None}, {}, "left", {"rating": 1}, [0]])
def test_answers_of_no_kind_are_refused_whole(bench, ada, value):
    with pytest.raises(ValueError, match="label|fields"):
        bench.answer(ada, bench.next(ada)[0], value)
    assert rows_of(bench) == []


def test_impossible_requests_are_refused(bench, ada):
    assignment = bench.next(ada)[0]
    with pytest.raises(ValueError, match="1 to 64 characters"):
        bench.answer(ada, assignment, {"label": 0}, key="k" * 65)


def test_how_many_somebody_answered(bench, ada):
    for _ in range(3):
        bench.label(ada, lambda _: None)
    with bench.database.reading() as connection:
        assert num_answered(connection, ada) == 3
