"""Putting queries into a study, each once, with all that is needed to show them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select

from pbrl.queries.human import tables
from pbrl.queries.human.database import insert_row
from pbrl.queries.human.kinds import Value, check_value
from pbrl.queries.human.recorded import RecordedSegment
from pbrl.queries.human.studies import Study, lock_study

MAX_KEY = 200


@dataclass(frozen=True, kw_only=True)
class NewQuery:
    """A question on its way into a study.

    Attributes:
        key: names it within the study; the same key is never asked twice.
        segments: what it shows, in its own order.
        asked_at: environment step at which it was asked, for a live run.
        gold: the right answer, for a gold question; None for a question that is open.
    """

    key: str
    segments: Sequence[RecordedSegment]
    asked_at: int = 0
    gold: Value = None


def add_queries(connection: Connection, study: Study, queries: Iterable[NewQuery]) -> int:
    """Put queries into a study and return how many were new.

    A query whose key the study has is left as it is, so a program that was interrupted can add all
    of them again.

    Raises:
        ValueError: if a query does not fit the study; the transaction should then be given up.
    """
    lock_study(connection, study.id)
    last = connection.execute(
        select(func.max(tables.query.c.position)).where(tables.query.c.study_id == study.id)
    ).scalar()
    position = 0 if last is None else last + 1
    num_new = 0
    for new in queries:
        if _is_known(connection, study.id, new.key):
            continue
        _check(study, new)
        gold = None if new.gold is None else check_for(study, new.segments, new.gold)
        row = {
            "study_id": study.id,
            "key": new.key,
            "position": position + num_new,
            "asked_at": new.asked_at,
            "gold": gold,
            "is_gold": gold is not None,
        }
        _insert_query(connection, row, new.segments)
        num_new += 1
    return num_new


def check_for(study: Study, segments: Sequence[Any], value: object) -> Value:
    """Return an answer to a query of these segments in its plain form; see `check_value`."""
    return check_value(
        study.config.kind,
        value,
        num_segments=len(segments),
        num_classes=len(study.config.classes),
        num_steps=max(map(len, segments)),
    )


def read_segments(connection: Connection, query_id: int) -> list[RecordedSegment]:
    """Return the segments of a query in its own order."""
    link, segment = tables.query_segment, tables.segment
    rows = connection.execute(
        select(segment.c.data, link.c.episode, link.c.start)
        .join_from(link, segment)
        .where(link.c.query_id == query_id)
        .order_by(link.c.place)
    )
    return [
        RecordedSegment.from_bytes(data, episode=episode, start=start)
        for data, episode, start in rows
    ]


def _is_known(connection: Connection, study_id: int, key: str) -> bool:
    column = tables.query.c
    row = select(column.id).where(column.study_id == study_id, column.key == key)
    return connection.execute(row).first() is not None


def _check(study: Study, new: NewQuery) -> None:
    if not 1 <= len(new.key) <= MAX_KEY:
        raise ValueError(f"the key of a query has 1 to {MAX_KEY} characters, got {new.key!r}")
    if len(new.segments) != study.config.num_segments:
        raise ValueError(
            f"a query of study {study.name} has {study.config.num_segments} segments, "
            f"query {new.key!r} has {len(new.segments)}"
        )


def _insert_query(
    connection: Connection, row: Mapping[str, Any], segments: Sequence[RecordedSegment]
) -> None:
    study_id = row["study_id"]
    numbers = [_insert_segment(connection, study_id, segment) for segment in segments]
    is_ready = not _waiting(connection, numbers)
    values = dict(row, is_ready=is_ready, num_answers=0)
    query_id = insert_row(connection, tables.query, **values)
    connection.execute(
        insert(tables.query_segment),
        [
            {
                "query_id": query_id,
                "place": place,
                "segment_id": number,
                "episode": segment.episode,
                "start": segment.start,
            }
            for place, (number, segment) in enumerate(zip(numbers, segments, strict=True))
        ],
    )


def _insert_segment(connection: Connection, study_id: int, segment: RecordedSegment) -> int:
    """Return the number of a segment; one of this content may be there already."""
    column, digest = tables.segment.c, segment.digest()
    known = select(column.id).where(column.study_id == study_id, column.digest == digest)
    number = connection.execute(known).scalar()
    if number is not None:
        return int(number)
    values = {"digest": digest, "num_steps": len(segment), "data": segment.to_bytes()}
    number = insert_row(connection, tables.segment, study_id=study_id, **values)
    connection.execute(
        insert(tables.clip).values(
            segment_id=number, study_id=study_id, status="waiting", attempts=0, claimed_until=0.0
        )
    )
    return number


def _waiting(connection: Connection, segments: Sequence[int]) -> bool:
    """Say whether one of the segments has no clip yet."""
    column = tables.clip.c
    rows = select(column.segment_id).where(
        column.segment_id.in_(segments), column.status == "waiting"
    )
    return connection.execute(rows).first() is not None
