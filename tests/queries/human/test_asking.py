import numpy as np
import pytest
from sqlalchemy import func, select

from pbrl.queries.human import NewQuery, add_queries, tables
from pbrl.queries.human.asking import read_segments


def test_nothing_is_asked_twice(bench):
    assert bench.ask(5) == 5
    assert bench.ask(8) == 3
    with bench.database.reading() as connection:
        keys = connection.execute(
            select(tables.query.c.key, tables.query.c.position).order_by(tables.query.c.position)
        ).all()
    assert keys == [(f"query {row}", row) for row in range(8)]


def test_segments_come_back_in_their_own_order(bench, make_segment):
    bench.ask(2)
    with bench.database.reading() as connection:
        segments = read_segments(connection, 2)
    assert [(one.episode, one.start) for one in segments] == [(1, 0), (1, 1)]
    expected = make_segment([5, 1, 1])
    np.testing.assert_array_equal(segments[1].observations, expected.observations)


def test_equal_segments_are_kept_once(bench, make_segment):
    segment = make_segment(0)
    queries = [NewQuery(key=str(row), segments=[segment, make_segment(row)]) for row in (1, 2, 3)]
    with bench.database.writing() as connection:
        add_queries(connection, bench.study, queries)
        counts = [
            connection.execute(select(func.count()).select_from(table)).scalar()
            for table in (tables.segment, tables.clip, tables.query_segment)
        ]
    assert counts == [4, 4, 6]


def test_new_queries_wait_for_their_clips(bench, make_segment):
    with bench.database.writing() as connection:
        add_queries(connection, bench.study, [NewQuery(key="a", segments=[make_segment(0)] * 2)])
        assert connection.execute(select(tables.query.c.is_ready)).scalars().all() == [False]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"key": ""}, "1 to 200 characters"),
        ({"number": 1}, "has 2 segments, query 'a' has 1"),
        ({"gold": {"label": 3}}, "label must be"),
    ],
)
def test_queries_that_do_not_fit_are_refused(bench, make_segment, fields, reason):
    fields = {"key": "a", "number": 2} | fields
    query = NewQuery(segments=[make_segment(0)] * fields.pop("number"), **fields)
    with pytest.raises(ValueError, match=reason), bench.database.writing() as connection:
        add_queries(connection, bench.study, [query])
