"""The JSON interface of owners: how a study stands, who takes part, and what it collected."""

import dataclasses
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathPart
from sqlalchemy import Connection

from pbrl.queries.human.exports import (
    answer_table,
    table_as_csv,
    table_as_parquet,
    write_graded,
    write_pairs,
)
from pbrl.queries.human.labels import Aggregate
from pbrl.queries.human.live_runs import list_runs
from pbrl.queries.human.people import invite, renew_token, revoke
from pbrl.queries.human.records import feedback_record
from pbrl.queries.human.report import study_report
from pbrl.queries.human.studies import Study, find_study, record_event, set_state
from pbrl.queries.human.web.access import Owner, server_of
from pbrl.queries.human.web.api import REFUSALS
from pbrl.queries.human.web.links import invitation_link
from pbrl.queries.human.web.schemas import (
    MAX_NUMBER,
    Invitation,
    Invited,
    NewState,
    Problem,
    Report,
    RunState,
)

Format = Literal["csv", "parquet", "record", "pairs", "graded"]
PersonNumber = Annotated[int, PathPart(ge=1, le=MAX_NUMBER)]
Writer = Callable[[Connection, Study, Aggregate], bytes]

router = APIRouter(
    prefix="/api/admin",
    tags=["owner"],
    responses={status: {"model": Problem} for status in REFUSALS},
)


@router.get("/report")
def report(request: Request, owner: Owner) -> Report:
    """Return how the study stands."""
    with server_of(request).database.reading() as connection:
        study = find_study(connection, owner.study_id)
        found = study_report(connection, study)
    return Report(study=study.name, state=study.state, report=plain(found))


@router.get("/runs")
def runs(request: Request, owner: Owner) -> list[RunState]:
    """Return how the runs that learn from the study stood last, the latest first."""
    with server_of(request).database.reading() as connection:
        found = list_runs(connection, owner.study_id)
    return [
        RunState(name=run.name, updated_at=run.updated_at, **dataclasses.asdict(run.status))
        for run in found
    ]


@router.post("/people", status_code=201)
def invite_person(request: Request, owner: Owner, body: Invitation) -> Invited:
    """Invite somebody; the link holds a token that is shown this once."""
    server = server_of(request)
    with server.database.writing() as connection:
        person, token = invite(connection, owner.study_id, body.name, body.role)
    return Invited(name=person.name, link=invitation_link(server.settings.origin, token))


@router.post("/people/{person_id}/renew")
def renew_person(request: Request, owner: Owner, person_id: PersonNumber) -> Invited:
    """Make a new link for somebody; the old one and its sessions no longer work."""
    server = server_of(request)
    with server.database.writing() as connection:
        person, token = renew_token(connection, owner.study_id, person_id)
    return Invited(name=person.name, link=invitation_link(server.settings.origin, token))


@router.post("/people/{person_id}/revoke", status_code=204)
def revoke_person(request: Request, owner: Owner, person_id: PersonNumber) -> None:
    """Take somebody's link back; their answers stay."""
    with server_of(request).database.writing() as connection:
        revoke(connection, owner.study_id, person_id)


@router.put("/state", status_code=204)
def change_state(request: Request, owner: Owner, body: NewState) -> None:
    """Open, pause or close the study."""
    with server_of(request).database.writing() as connection:
        set_state(connection, owner.study_id, body.state)


@router.get("/export/{kind}", response_class=Response)
def export(request: Request, owner: Owner, kind: Format, aggregate: Aggregate = "each") -> Response:
    """Return what the study collected as a file.

    csv and parquet have one row for each answer; record and pairs, for studies of pairs, hold
    labels as `aggregate` says: the library's feedback record, and pairs with their segments; graded
    holds ratings or rankings with their segments.
    """
    write, suffix, media = _WRITERS[kind]
    database = server_of(request).database
    with database.reading() as connection:
        study = find_study(connection, owner.study_id)
        content = write(connection, study, aggregate)
    with database.writing() as connection:
        detail = {"kind": kind, "aggregate": aggregate}
        record_event(connection, study.id, "exported", detail, owner.id)
    name = f"{study.name}-{kind}.{suffix}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=media, headers=headers)


def plain(value: Any) -> Any:
    """Return a report as JSON knows it; numbers that are none become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        fields.pop("fingerprint", None)
        return plain(fields)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _csv(connection: Connection, study: Study, _: Aggregate) -> bytes:
    return table_as_csv(answer_table(connection, study)).encode()


def _parquet(connection: Connection, study: Study, _: Aggregate) -> bytes:
    try:
        return table_as_parquet(answer_table(connection, study))
    except ImportError as error:
        raise ValueError(str(error)) from None


def _record(connection: Connection, study: Study, aggregate: Aggregate) -> bytes:
    record = feedback_record(connection, study, aggregate)
    return _through_file(record.save)


def _pairs(connection: Connection, study: Study, aggregate: Aggregate) -> bytes:
    return _through_file(lambda path: write_pairs(connection, study, path, aggregate))


def _graded(connection: Connection, study: Study, _: Aggregate) -> bytes:
    return _through_file(lambda path: write_graded(connection, study, path))


def _through_file(write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.npz"
        write(path)
        return path.read_bytes()


_BYTES = "application/octet-stream"
_WRITERS: dict[str, tuple[Writer, str, str]] = {
    "csv": (_csv, "csv", "text/csv; charset=utf-8"),
    "parquet": (_parquet, "parquet", "application/vnd.apache.parquet"),
    "record": (_record, "npz", _BYTES),
    "pairs": (_pairs, "npz", _BYTES),
    "graded": (_graded, "npz", _BYTES),
}
