"""What happened to the labels of a study since somebody looked last."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from pbrl.queries.human import tables


@dataclass(frozen=True, kw_only=True)
class Change:
    """An answer to a pair, or one taken back.

    Attributes:
        answer_id: number of the row; a later one of the same annotator and query replaces it.
        query_key: the query.
        annotator: who.
        label: P(second preferred) about the query's own order; NaN for "can't tell" and for an
            answer that was taken back.
    """

    answer_id: int
    query_key: str
    annotator: str
    label: float


def changes(connection: Connection, study_id: int, *, since: int = 0) -> list[Change]:
    """Return every answer to a plain pair with a number above `since`, taken back or not."""
    answer, assignment = tables.answer.c, tables.assignment.c
    rows = (
        select(
            answer.id,
            tables.query.c.key,
            tables.annotator.c.name,
            answer.value,
        )
        .join_from(tables.answer, tables.assignment, assignment.id == answer.assignment_id)
        .join(tables.query, tables.query.c.id == assignment.query_id)
        .join(tables.annotator, tables.annotator.c.id == answer.annotator_id)
        .where(answer.study_id == study_id, answer.id > since, assignment.purpose == "plain")
        .order_by(answer.id)
    )
    return [
        Change(
            answer_id=number,
            query_key=key,
            annotator=name,
            label=float("nan") if value is None else value["label"],
        )
        for number, key, name, value in connection.execute(rows)
    ]
