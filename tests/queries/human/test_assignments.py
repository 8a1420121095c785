import numpy as np
import pytest
from sqlalchemy import update

from pbrl.queries.human import tables, undo_answer
from pbrl.queries.human.assignments import find_assignment, num_left
from pbrl.queries.human.errors import NotFound
from pbrl.queries.human.studies import set_state


def first(_assignment):
    return {"label": 0}


def test_every_query_goes_to_as_many_people_as_the_study_wants(make_bench):
    bench = make_bench(labels_per_query=2)
    bench.ask(6)
    people = [bench.invite(name) for name in ("ada", "ben", "eve")]
    given = []
    for turn in range(30):
        assignment = bench.label(people[turn % 3], first)
        given += [(assignment.query_id, people[turn % 3].id)] if assignment else []
    assert len(given) == 12
    assert len(set(given)) == 12  # nobody saw a query twice
    assert sorted(query for query, _ in given) == sorted([*range(1, 7)] * 2)


def test_the_least_answered_comes_first(make_bench):
    bench = make_bench(labels_per_query=3)
    bench.ask(3)
    ada, ben = bench.invite("ada"), bench.invite("ben")
    assert [bench.label(ada, first).query_id for _ in range(2)] == [1, 2]
    assert [bench.label(ben, first).query_id for _ in range(3)] == [3, 1, 2]


def test_two_people_at_once_get_different_queries(bench):
    bench.ask(2)
    ada, ben, eve = (bench.invite(name) for name in ("ada", "ben", "eve"))
    assert bench.next(ada)[0].query_id == 1
    assert bench.next(ben)[0].query_id == 2
    assert bench.next(eve) == []


def test_asking_again_gives_the_same_query(bench):
    bench.ask(5)
    ada = bench.invite("ada")
    before = bench.next(ada, 2)
    bench.wait(5)
    after = bench.next(ada, 2)
    assert [one.id for one in before] == [one.id for one in after]
    assert after[0].order == before[0].order
    assert [one.query_id for one in bench.next(ada, 3)] == [1, 2, 3]


def test_who_leaves_holds_nothing_back(bench):
    bench.ask(1)
    ada, ben = bench.invite("ada"), bench.invite("ben")
    left = bench.next(ada)[0]
    assert bench.next(ben) == []
    bench.wait(61)
    taken = bench.next(ben)[0]
    assert taken.query_id == left.query_id
    assert bench.next(ada) == []  # somebody else is at it


def test_who_comes_back_before_others_goes_on(bench):
    bench.ask(1)
    ada = bench.invite("ada")
    left = bench.next(ada)[0]
    bench.wait(1_000)
    assert bench.next(ada)[0].id == left.id


def test_a_late_answer_counts_all_the_same(bench):
    bench.ask(1)
    ada, ben = bench.invite("ada"), bench.invite("ben")
    late = bench.next(ada)[0]
    bench.wait(61)
    bench.label(ben, first)
    assert bench.next(ada) == []
    bench.answer(ada, late, {"label": 1})
    assert find_in(bench, ada, late.id).answer_id == 2


def find_in(bench, person, assignment_id):
    with bench.database.reading() as connection:
        return find_assignment(connection, person, assignment_id)


def test_the_undone_query_comes_before_others(bench):
    bench.ask(4)
    ada = bench.invite("ada")
    first_shown = bench.label(ada, first)
    second_shown = bench.label(ada, first)
    third = bench.next(ada)[0]
    for key in ("one", "two"):
        bench.wait(1)
        with bench.database.writing() as connection:
            undo_answer(connection, ada, key=key, now=bench.now)
    assert [one.id for one in bench.next(ada, 3)] == [first_shown.id, second_shown.id, third.id]


def test_gold_questions_come_when_due(make_bench):
    bench = make_bench(gold_every=3)
    bench.ask(9)
    bench.ask(2, gold={"label": 1}, prefix="gold")
    ada = bench.invite("ada")
    purposes = []
    while assignment := bench.label(ada, first):
        purposes.append(assignment.purpose)
    assert "".join(purpose[0] for purpose in purposes) == "pppgpppgppp"


def test_everybody_gets_the_gold_questions(make_bench):
    bench = make_bench(gold_every=1)
    bench.ask(4)
    bench.ask(1, gold={"label": 1}, prefix="gold")
    for name in ("ada", "ben"):
        person = bench.invite(name)
        purposes = [bench.label(person, first).purpose for _ in range(3)]
        assert purposes == ["plain", "gold", "plain"]


def test_repeats_show_the_other_order(make_bench):
    bench = make_bench(repeat_every=3, repeat_gap=2)
    bench.ask(12)
    ada = bench.invite("ada")
    given = []
    while assignment := bench.label(ada, first):
        given.append(assignment)
    repeats = [one for one in given if one.purpose == "repeat"]
    assert len(repeats) == 4
    assert len({one.query_id for one in repeats}) == 4
    for repeat in repeats:
        original = next(one for one in given if one.query_id == repeat.query_id)
        assert given.index(repeat) - given.index(original) > 2
        assert repeat.order == original.order[::-1]


def test_nobody_is_asked_again_what_they_could_not_tell(make_bench):
    bench = make_bench(repeat_every=2, repeat_gap=0)
    bench.ask(6)
    ada = bench.invite("ada")
    while assignment := bench.label(ada, lambda _: None):
        assert assignment.purpose == "plain"


def test_orders_favour_no_side(sqlite_bench):
    bench = sqlite_bench(labels_per_query=1)
    bench.ask(60)
    ada = bench.invite("ada")
    swapped = [one.order == (1, 0) for one in bench.next(ada, 60)]
    assert 18 < sum(swapped) < 42


def test_orders_of_a_ranking_are_permutations(sqlite_bench):
    bench = sqlite_bench(kind="ranking", ranking_size=4)
    bench.ask(10)
    orders = [one.order for one in bench.next(bench.invite("ada"), 10)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(orders)) > 3


@pytest.mark.parametrize("state", ["paused", "closed"])
def test_a_study_at_rest_hands_nothing_out(bench, state):
    bench.ask(2)
    ada = bench.invite("ada")
    before = bench.next(ada)[0]
    with bench.database.writing() as connection:
        set_state(connection, bench.study.id, state)
    assert bench.next(ada) == []
    bench.answer(ada, before, {"label": 0.5})  # what was handed out is taken
    with bench.database.writing() as connection:
        set_state(connection, bench.study.id, "open")
    assert bench.next(ada)[0].query_id == 2


def test_queries_without_clips_wait(bench):
    bench.ask(2)
    with bench.database.writing() as connection:
        connection.execute(
            update(tables.query).where(tables.query.c.position == 0).values(is_ready=False)
        )
    ada = bench.invite("ada")
    assert bench.next(ada)[0].query_id == 2
    bench.label(ada, first)
    with bench.database.reading() as connection:
        assert num_left(connection, ada) == 1


def test_what_is_left_counts_what_one_holds(make_bench):
    bench = make_bench(labels_per_query=2)
    bench.ask(4)
    ada, ben = bench.invite("ada"), bench.invite("ben")

    def left_for(person):
        with bench.database.reading() as connection:
            return num_left(connection, person)

    bench.next(ben, 2)
    assert (left_for(ada), left_for(ben)) == (4, 4)
    bench.label(ada, first)
    assert (left_for(ada), left_for(ben)) == (3, 4)


def test_nobody_has_anothers_query(bench):
    bench.ask(1)
    ada, ben = bench.invite("ada"), bench.invite("ben")
    assignment = bench.next(ada)[0]
    with pytest.raises(NotFound), bench.database.reading() as connection:
        find_assignment(connection, ben, assignment.id)


def test_labels_never_exceed_what_was_wanted(make_bench):
    bench = make_bench(labels_per_query=2, gold_every=4, repeat_every=4)
    bench.ask(10)
    bench.ask(3, gold={"label": 0}, prefix="gold")
    people = [bench.invite(f"person {number}") for number in range(3)]
    rng = np.random.default_rng(0)
    for _ in range(50):
        bench.label(people[rng.integers(3)], lambda _: {"label": float(rng.integers(2))})
        bench.wait(1)
    with bench.database.reading() as connection:
        numbers = connection.execute(
            tables.query.select().where(tables.query.c.is_gold.is_(False))
        ).mappings()
        assert {row["num_answers"] for row in numbers} == {2}
