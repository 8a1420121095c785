"""Which query an annotator gets next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sqlalchemy import Connection, Select, and_, func, select, update

from pbrl.queries.human import tables
from pbrl.queries.human.database import insert_row
from pbrl.queries.human.errors import NotFound
from pbrl.queries.human.people import Person
from pbrl.queries.human.studies import Study, find_study, lock_study

Purpose = Literal["plain", "gold", "repeat"]

_ASSIGNMENT = tables.assignment.c
_QUERY = tables.query.c


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A query in an annotator's hands.

    Attributes:
        id: number in the database.
        study_id: the study.
        query_id: the query.
        annotator_id: whose it is.
        purpose: a "plain" query, a "gold" question, or a "repeat" of an earlier one.
        showing: 0 for the first time that the annotator sees the query, 1 for a repeat.
        order: the query's place of each segment, in the order shown.
        leased_until: when others may have it, seconds since 1970.
        answer_id: the answer that counts, None while there is none.
    """

    id: int
    study_id: int
    query_id: int
    annotator_id: int
    purpose: Purpose
    showing: int
    order: tuple[int, ...]
    leased_until: float
    answer_id: int | None


def hand_out(
    connection: Connection, person: Person, *, now: float, number: int = 1
) -> list[Assignment]:
    """Return up to `number` queries for an annotator to answer, the first one first.

    Queries that the annotator has and did not answer come first, the one undone last before all
    others, so that reloading a page changes nothing. Then come, when due, a gold question and a
    repeat, and otherwise the query with the fewest answers and leases of which this annotator never
    had any part. A query is kept for its annotator until the lease ends; a late answer counts all
    the same.

    Args:
        connection: a transaction that may write.
        person: an annotator or a program.
        now: seconds since 1970.
        number: queries to hold at once, the later ones to load ahead.
    """
    study = find_study(connection, person.study_id)
    if study.state != "open":
        return []
    lock_study(connection, study.id)
    held = _renewed(connection, study, person, now)
    while len(held) < number:
        chosen = (
            _due_gold(connection, study, person)
            or _due_repeat(connection, study, person)
            or _least_answered(connection, study, person, now)
        )
        if chosen is None:
            break
        held.append(_hand(connection, study, person, chosen, now))
    return held[:number]


def find_assignment(connection: Connection, person: Person, assignment_id: int) -> Assignment:
    """Return an assignment of somebody.

    Raises:
        NotFound: if there is none of that number, or it is another's.
    """
    mine = and_(_ASSIGNMENT.id == assignment_id, _ASSIGNMENT.annotator_id == person.id)
    found = _read(connection, select(tables.assignment).where(mine))
    if not found:
        raise NotFound(f"you have no query {assignment_id}")
    return found[0]


def num_left(connection: Connection, person: Person) -> int:
    """Return how many plain queries this annotator has to answer or could still be given.

    Those that others hold at present are counted.
    """
    study = find_study(connection, person.study_id)
    mine = and_(_ASSIGNMENT.annotator_id == person.id, _ASSIGNMENT.purpose == "plain")
    had = select(func.count()).join_from(tables.assignment, tables.query).where(mine, _open(study))
    counts = (
        select(func.count()).where(_open(study)),
        had,
        select(func.count()).where(_held_by(person), _ASSIGNMENT.purpose == "plain"),
    )
    num_open, num_had, num_held = (connection.execute(rows).scalar_one() for rows in counts)
    return int(num_open - num_had + num_held)


def _renewed(connection: Connection, study: Study, person: Person, now: float) -> list[Assignment]:
    """Return what the annotator has and still should answer, with new leases."""
    rows = select(tables.assignment).where(_held_by(person))
    rows = rows.order_by(_ASSIGNMENT.reopened_at.desc(), _ASSIGNMENT.id)
    held = []
    for assignment in _read(connection, rows):
        is_late = assignment.leased_until <= now
        if is_late and not _is_wanted(connection, study, assignment, now):
            _update(connection, assignment.id, is_released=True)
        else:
            _update(connection, assignment.id, leased_until=now + study.config.lease_seconds)
            held.append(assignment)
    return held


def _is_wanted(connection: Connection, study: Study, assignment: Assignment, now: float) -> bool:
    """Say whether a query whose lease has ended still lacks answers that nobody is about to give.

    A query that was answered and undone is wanted back in any case.
    """
    if assignment.purpose != "plain":
        return True
    given = select(_QUERY.num_answers).where(_QUERY.id == assignment.query_id)
    leases = select(func.count()).where(
        _ASSIGNMENT.query_id == assignment.query_id, _is_leased(study, now)
    )
    total = connection.execute(given).scalar_one() + connection.execute(leases).scalar_one()
    return bool(total < study.config.labels_per_query)


def _due_gold(connection: Connection, study: Study, person: Person) -> Mapping[str, Any] | None:
    every = study.config.gold_every
    if every == 0 or not _is_due(connection, person, "gold", every):
        return None
    rows = (
        select(_QUERY.id)
        .where(_QUERY.study_id == study.id, _QUERY.is_gold, _QUERY.is_ready)
        .where(~_had_by(person))
        .order_by(_QUERY.position)
    )
    query_id = connection.execute(rows.limit(1)).scalar()
    return None if query_id is None else {"query_id": query_id, "purpose": "gold", "showing": 0}


def _due_repeat(connection: Connection, study: Study, person: Person) -> Mapping[str, Any] | None:
    every = study.config.repeat_every
    if every == 0 or not _is_due(connection, person, "repeat", every):
        return None
    mine = select(_ASSIGNMENT.id).where(_ASSIGNMENT.annotator_id == person.id)
    newest = mine.order_by(_ASSIGNMENT.id.desc()).offset(study.config.repeat_gap).limit(1)
    limit = connection.execute(newest).scalar()
    if limit is None:
        return None
    again = tables.assignment.alias()
    had_again = (
        select(again.c.id)
        .where(again.c.annotator_id == person.id, again.c.query_id == _ASSIGNMENT.query_id)
        .where(again.c.showing == 1)
    )
    answered = (
        select(_ASSIGNMENT.query_id)
        .join(tables.answer, tables.answer.c.id == _ASSIGNMENT.answer_id)
        .where(_ASSIGNMENT.annotator_id == person.id, _ASSIGNMENT.purpose == "plain")
        .where(_ASSIGNMENT.id <= limit, tables.answer.c.value.is_not(None), ~had_again.exists())
        .order_by(_ASSIGNMENT.id)
    )
    query_id = connection.execute(answered.limit(1)).scalar()
    return None if query_id is None else {"query_id": query_id, "purpose": "repeat", "showing": 1}


def _is_due(connection: Connection, person: Person, purpose: Purpose, every: int) -> bool:
    """Say whether the annotator has had `every` plain queries for each of another purpose."""
    rows = (
        select(_ASSIGNMENT.purpose, func.count())
        .where(_ASSIGNMENT.annotator_id == person.id)
        .group_by(_ASSIGNMENT.purpose)
    )
    counts: dict[str, int] = dict(connection.execute(rows).tuples().all())
    return counts.get(purpose, 0) < counts.get("plain", 0) // every


def _least_answered(
    connection: Connection, study: Study, person: Person, now: float
) -> Mapping[str, Any] | None:
    leased = select(_ASSIGNMENT.query_id, func.count()).group_by(_ASSIGNMENT.query_id)
    leased = leased.where(_is_leased(study, now), _ASSIGNMENT.purpose == "plain")
    leases: dict[int, int] = dict(connection.execute(leased).tuples().all())
    rows = select(_QUERY.num_answers, _QUERY.position, _QUERY.id)
    rows = rows.where(_open(study), _QUERY.is_ready, ~_had_by(person))
    # Those that nobody holds come out of the index in order: the first is found at once.
    free = rows.where(_QUERY.id.not_in(leases)).order_by(_QUERY.num_answers, _QUERY.position)
    held = [
        (given + leases[query_id], position, query_id)
        for given, position, query_id in connection.execute(rows.where(_QUERY.id.in_(leases)))
        if given + leases[query_id] < study.config.labels_per_query
    ]
    found = [*held, *connection.execute(free.limit(1)).tuples()]
    return {"query_id": min(found)[2], "purpose": "plain", "showing": 0} if found else None


def _open(study: Study) -> Any:
    """Return the condition on plain queries that lack answers."""
    return and_(
        _QUERY.study_id == study.id,
        _QUERY.is_gold.is_(False),
        _QUERY.num_answers < study.config.labels_per_query,
    )


def _held_by(person: Person) -> Any:
    """Return the condition on assignments that this person has not answered."""
    return and_(
        _ASSIGNMENT.annotator_id == person.id,
        _ASSIGNMENT.answer_id.is_(None),
        _ASSIGNMENT.is_released.is_(False),
    )


def _had_by(person: Person) -> Any:
    had = select(_ASSIGNMENT.id).where(
        _ASSIGNMENT.query_id == _QUERY.id, _ASSIGNMENT.annotator_id == person.id
    )
    return had.exists()


def _is_leased(study: Study, now: float) -> Any:
    """Return the condition on assignments that somebody is about to answer."""
    return and_(
        _ASSIGNMENT.study_id == study.id,
        _ASSIGNMENT.answer_id.is_(None),
        _ASSIGNMENT.leased_until > now,
    )


def _hand(
    connection: Connection, study: Study, person: Person, chosen: Mapping[str, Any], now: float
) -> Assignment:
    order = _order(connection, study, person, chosen)
    values = {
        **chosen,
        "study_id": study.id,
        "annotator_id": person.id,
        "order": order,
        "opened_at": now,
        "leased_until": now + study.config.lease_seconds,
        "reopened_at": 0.0,
        "is_released": False,
    }
    return find_assignment(connection, person, insert_row(connection, tables.assignment, **values))


def _order(
    connection: Connection, study: Study, person: Person, chosen: Mapping[str, Any]
) -> Sequence[int]:
    """Return an order of segments: random at first, the other way round for a repeat."""
    if chosen["showing"] > 0:
        first = select(_ASSIGNMENT.order).where(
            _ASSIGNMENT.annotator_id == person.id,
            _ASSIGNMENT.query_id == chosen["query_id"],
            _ASSIGNMENT.showing == 0,
        )
        return list(reversed(connection.execute(first).scalar_one()))
    # The same for the same annotator and query, so that nothing has to be remembered or locked.
    rng = np.random.default_rng([study.id, person.id, chosen["query_id"]])
    order: list[int] = rng.permutation(study.config.num_segments).tolist()
    return order


def _read(connection: Connection, rows: Select[Any]) -> list[Assignment]:
    names = Assignment.__dataclass_fields__
    return [
        Assignment(**{**{name: row[name] for name in names}, "order": tuple(row["order"])})
        for row in connection.execute(rows).mappings()
    ]


def _update(connection: Connection, assignment_id: int, **values: Any) -> None:
    rows = update(tables.assignment).where(_ASSIGNMENT.id == assignment_id)
    connection.execute(rows.values(**values))
