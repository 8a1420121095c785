"""How the runs that learn from a study stand, for its owner to see."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from pbrl.queries.follower import RunStatus
from pbrl.queries.human import tables


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """A run of a study as it stood last.

    Attributes:
        study_id: the study.
        token: unique in the study; the keys of the run's queries start with it.
        name: for people.
        status: how it stood.
        updated_at: when, in seconds since 1970.
    """

    study_id: int
    token: str
    name: str
    status: RunStatus
    updated_at: float


def save_run(connection: Connection, run: LiveRun) -> None:
    """Write down how a run stands."""
    column = tables.run.c
    values = {
        "name": run.name,
        "status": dataclasses.asdict(run.status),
        "updated_at": run.updated_at,
    }
    mine = (column.study_id == run.study_id) & (column.token == run.token)
    if connection.execute(update(tables.run).where(mine).values(**values)).rowcount == 0:
        key = {"study_id": run.study_id, "token": run.token}
        connection.execute(insert(tables.run).values(**key, **values))


def list_runs(connection: Connection, study_id: int) -> list[LiveRun]:
    """Return the runs of a study, the one heard of last first."""
    column = tables.run.c
    rows = select(tables.run).where(column.study_id == study_id).order_by(column.updated_at.desc())
    return [
        LiveRun(
            study_id=study_id,
            token=row["token"],
            name=row["name"],
            status=_status(row["status"]),
            updated_at=row["updated_at"],
        )
        for row in connection.execute(rows).mappings()
    ]


def may_come(connection: Connection, study_id: int) -> bool:
    """Return whether more queries may come: of a run, or the first ones of a study without any."""
    if any(run.status.is_asking for run in list_runs(connection, study_id)):
        return True
    any_query = select(tables.query.c.id).where(tables.query.c.study_id == study_id).limit(1)
    return connection.execute(any_query).first() is None


def _status(plain: Mapping[str, Any]) -> RunStatus:
    curve = tuple((step, score, labels) for step, score, labels in plain["curve"])
    return RunStatus(**{**plain, "curve": curve})
