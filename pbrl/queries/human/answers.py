"""Recording answers: each one durable transaction, and nothing is ever changed or deleted."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from pbrl.queries.human import tables
from pbrl.queries.human.assignments import Assignment, Purpose, find_assignment
from pbrl.queries.human.database import insert_row
from pbrl.queries.human.errors import Conflict
from pbrl.queries.human.kinds import Value, check_value, to_own_order
from pbrl.queries.human.people import Person
from pbrl.queries.human.studies import find_study

MAX_KEY = 64
MAX_SECONDS = 86_400.0

_ANSWER = tables.answer.c
_ASSIGNMENT = tables.assignment.c
_QUERY = tables.query.c


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What became of a request to record something.

    Attributes:
        answer_id: the row that holds it.
        assignment_id: what it is about.
        is_new: False if the same request had been recorded before.
    """

    answer_id: int
    assignment_id: int
    is_new: bool


@dataclass(frozen=True, kw_only=True)
class GivenAnswer:
    """An answer that counts: the last one that its annotator gave and did not take back.

    Attributes:
        answer_id: number in the database; a later answer has a higher one.
        query_id, query_key, position, asked_at: the query.
        annotator_id, annotator: who answered.
        purpose: why the query was shown, see `Assignment`.
        order: in which the segments were shown.
        value: about the query's own order; None for "can't tell".
        gold: the right answer of a gold question.
        seconds: how long the annotator looked, as the browser measured it.
        answered_at: seconds since 1970.
    """

    answer_id: int
    query_id: int
    query_key: str
    position: int
    asked_at: int
    annotator_id: int
    annotator: str
    purpose: Purpose
    order: tuple[int, ...]
    value: Value
    gold: Value
    seconds: float | None
    answered_at: float


def record_answer(
    connection: Connection,
    person: Person,
    assignment_id: int,
    value: object,
    *,
    key: str,
    now: float,
    seconds: float | None = None,
) -> Recorded:
    """Record an answer, once however often the request comes.

    Args:
        connection: a transaction that may write.
        person: who answers.
        assignment_id: to what, from `hand_out`.
        value: about the segments in the order shown; see `pbrl.queries.human.kinds`.
        key: names the request; one that was recorded is not recorded again.
        now: seconds since 1970.
        seconds: how long the annotator looked.

    Raises:
        NotFound: if the person does not have the assignment.
        ValueError: if the answer is none of the study's kind.
        Conflict: if another answer to the assignment counts (it stays), or the key was used for
            something else.
    """
    _check_request(key, seconds)
    _lock_person(connection, person)
    assignment = find_assignment(connection, person, assignment_id)
    earlier = _find_request(connection, person, key)
    if earlier is not None:
        if earlier.assignment_id != assignment_id:
            raise Conflict("the key was used for another query")
        return earlier
    if assignment.answer_id is not None:
        raise Conflict("the query is answered already; undo the answer to change it")
    checked = _checked(connection, assignment, value)
    answer_id = _insert(
        connection, assignment, key=key, now=now, value=checked, seconds=seconds, is_undo=False
    )
    _set_current(connection, assignment, answer_id)
    _count(connection, assignment, 1)
    return Recorded(answer_id=answer_id, assignment_id=assignment_id, is_new=True)


def undo_answer(connection: Connection, person: Person, *, key: str, now: float) -> Recorded | None:
    """Take back the person's last answer that counts; the query is theirs to answer again.

    Returns:
        The row that says so, or None if there is no answer to take back.

    Raises:
        Conflict: if the key was used for something else.
    """
    _check_request(key, None)
    _lock_person(connection, person)
    earlier = _find_request(connection, person, key)
    if earlier is not None:
        return earlier
    last = (
        select(_ASSIGNMENT.id)
        .where(_ASSIGNMENT.annotator_id == person.id, _ASSIGNMENT.answer_id.is_not(None))
        .order_by(_ASSIGNMENT.answer_id.desc())
    )
    assignment_id = connection.execute(last.limit(1)).scalar()
    if assignment_id is None:
        return None
    assignment = find_assignment(connection, person, assignment_id)
    answer_id = _insert(
        connection, assignment, key=key, now=now, value=None, seconds=None, is_undo=True
    )
    lease = find_study(connection, person.study_id).config.lease_seconds
    _set_current(connection, assignment, None, reopened_at=now, leased_until=now + lease)
    _count(connection, assignment, -1)
    return Recorded(answer_id=answer_id, assignment_id=assignment_id, is_new=True)


def current_answers(
    connection: Connection, study_id: int, query_ids: Collection[int] | None = None
) -> list[GivenAnswer]:
    """Return the answers that count, in the order in which they were given.

    Args:
        connection: a transaction.
        study_id: the study.
        query_ids: only answers to these queries.
    """
    columns = (
        _ANSWER.id.label("answer_id"),
        _QUERY.id.label("query_id"),
        _QUERY.key.label("query_key"),
        _QUERY.position,
        _QUERY.asked_at,
        tables.annotator.c.id.label("annotator_id"),
        tables.annotator.c.name.label("annotator"),
        _ASSIGNMENT.purpose,
        _ASSIGNMENT.order,
        _ANSWER.value,
        _QUERY.gold,
        _ANSWER.seconds,
        _ANSWER.created_at.label("answered_at"),
    )
    rows = (
        select(*columns)
        .join_from(tables.assignment, tables.answer, _ANSWER.id == _ASSIGNMENT.answer_id)
        .join(tables.query, _QUERY.id == _ASSIGNMENT.query_id)
        .join(tables.annotator, tables.annotator.c.id == _ASSIGNMENT.annotator_id)
        .where(_ASSIGNMENT.study_id == study_id)
        .order_by(_ANSWER.id)
    )
    if query_ids is not None:
        rows = rows.where(_QUERY.id.in_(query_ids))
    return [
        GivenAnswer(**{**row, "order": tuple(row["order"])})
        for row in connection.execute(rows).mappings()
    ]


def num_answered(connection: Connection, person: Person) -> int:
    """Return how many queries somebody has answered, all purposes together."""
    rows = select(func.count()).where(
        _ASSIGNMENT.annotator_id == person.id, _ASSIGNMENT.answer_id.is_not(None)
    )
    return int(connection.execute(rows).scalar_one())


def _check_request(key: str, seconds: float | None) -> None:
    if not 1 <= len(key) <= MAX_KEY:
        raise ValueError(f"the key of a request has 1 to {MAX_KEY} characters, got {len(key)}")
    if seconds is not None and not 0 <= seconds <= MAX_SECONDS:
        raise ValueError(f"seconds must lie in 0 to {MAX_SECONDS:.0f}, got {seconds}")


def _lock_person(connection: Connection, person: Person) -> None:
    """Let the requests of one person, from two tabs perhaps, come one after the other."""
    row = select(tables.annotator.c.id).where(tables.annotator.c.id == person.id)
    connection.execute(row.with_for_update(key_share=True))


def _find_request(connection: Connection, person: Person, key: str) -> Recorded | None:
    row = select(_ANSWER.id, _ANSWER.assignment_id).where(
        _ANSWER.annotator_id == person.id, _ANSWER.key == key
    )
    found = connection.execute(row).first()
    if found is None:
        return None
    return Recorded(answer_id=found.id, assignment_id=found.assignment_id, is_new=False)


def _checked(connection: Connection, assignment: Assignment, value: object) -> Value:
    """Return an answer in its plain form, about the query's own order."""
    config = find_study(connection, assignment.study_id).config
    lengths = (
        select(func.max(tables.segment.c.num_steps))
        .join_from(tables.query_segment, tables.segment)
        .where(tables.query_segment.c.query_id == assignment.query_id)
    )
    checked = check_value(
        config.kind,
        value,
        num_segments=config.num_segments,
        num_classes=len(config.classes),
        num_steps=connection.execute(lengths).scalar_one(),
    )
    return to_own_order(config.kind, checked, assignment.order)


def _insert(connection: Connection, assignment: Assignment, *, now: float, **values: Any) -> int:
    turns = select(func.count()).where(_ANSWER.assignment_id == assignment.id)
    return insert_row(
        connection,
        tables.answer,
        study_id=assignment.study_id,
        assignment_id=assignment.id,
        annotator_id=assignment.annotator_id,
        turn=connection.execute(turns).scalar_one(),
        created_at=now,
        **values,
    )


def _set_current(
    connection: Connection, assignment: Assignment, answer_id: int | None, **values: float
) -> None:
    rows = update(tables.assignment).where(_ASSIGNMENT.id == assignment.id)
    connection.execute(rows.values(answer_id=answer_id, is_released=False, **values))


def _count(connection: Connection, assignment: Assignment, change: int) -> None:
    if assignment.purpose == "plain":
        rows = update(tables.query).where(_QUERY.id == assignment.query_id)
        connection.execute(rows.values(num_answers=_QUERY.num_answers + change))
