"""The JSON interface of annotators: pages use it, and programs that label may."""

import time
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import Connection

from pbrl.queries.human.answers import num_answered, record_answer, undo_answer
from pbrl.queries.human.asking import read_segments
from pbrl.queries.human.assignments import (
    Assignment,
    find_assignment,
    hand_out,
    num_left,
)
from pbrl.queries.human.clips import shown_segments
from pbrl.queries.human.live_runs import may_come
from pbrl.queries.human.people import Person
from pbrl.queries.human.studies import find_study, record_event
from pbrl.queries.human.web.access import (
    Annotator,
    AnyVisitor,
    check_same_site,
    client_of,
    person_by_token,
    server_of,
)
from pbrl.queries.human.web.schemas import (
    MAX_NUMBER,
    Answer,
    Answered,
    Enter,
    Entered,
    Next,
    Problem,
    Progress,
    SegmentNumbers,
    SegmentView,
    StudyView,
    Tasks,
    TaskView,
    Undo,
    Undone,
)
from pbrl.queries.human.web.sessions import SESSION_SECONDS

REFUSALS = (400, 401, 403, 404, 409, 413, 422, 429)

router = APIRouter(
    prefix="/api",
    tags=["labelling"],
    responses={status: {"model": Problem} for status in REFUSALS},
)


@router.post("/session")
def enter(request: Request, response: Response, body: Enter) -> Entered:
    """Enter a study with the token of an invitation; a cookie then stands for it."""
    check_same_site(request)
    server = server_of(request)
    person = person_by_token(server, body.token, client_of(request))
    _, cookie = server.sessions.start(person)
    response.set_cookie(
        server.sessions.cookie,
        cookie,
        max_age=SESSION_SECONDS,
        secure=server.settings.is_secure,
        httponly=True,
        samesite="strict",
    )
    with server.database.writing() as connection:
        record_event(connection, person.study_id, "entered", {}, person.id)
    page = "/admin" if person.role == "owner" else "/label"
    return Entered(name=person.name, role=person.role, page=page)


@router.delete("/session", status_code=204)
def leave(request: Request, response: Response, visitor: AnyVisitor) -> None:
    """Forget this browser's session; the invitation link works again at any time."""
    sessions = server_of(request).sessions
    if visitor.session is not None:
        is_secure = server_of(request).settings.is_secure
        response.delete_cookie(sessions.cookie, secure=is_secure, httponly=True, samesite="strict")


@router.get("/study")
def show_study(request: Request, person: Annotator) -> StudyView:
    """Return what an annotator should know about the study."""
    with server_of(request).database.reading() as connection:
        study = find_study(connection, person.study_id)
        config = study.config
        return StudyView(
            name=study.name,
            kind=config.kind,
            task=config.task,
            instructions=config.instructions,
            classes=list(config.classes) if config.kind == "rating" else [],
            num_segments=config.num_segments,
            frames_per_second=config.frames_per_second,
            state=study.state,
            person=person.name,
            progress=_progress(connection, person),
        )


@router.post("/next")
def hand_out_next(request: Request, person: Annotator, body: Next) -> Tasks:
    """Return queries to answer; asking again returns the same ones until they are answered."""
    with server_of(request).database.writing() as connection:
        return _next(connection, person, body.number)


@router.post("/answers")
def answer(request: Request, person: Annotator, body: Answer) -> Answered:
    """Record an answer: once it is acknowledged, it is on the disk."""
    server = server_of(request)
    value = None if body.value is None else body.value.model_dump()
    with server.database.writing() as connection:
        recorded = record_answer(
            connection,
            person,
            body.assignment,
            value,
            key=body.key,
            now=time.time(),
            seconds=body.seconds,
        )
        tasks = _next(connection, person, body.next) if body.next else None
    return Answered(recorded="new" if recorded.is_new else "before", next=tasks)


@router.post("/undo")
def undo(request: Request, person: Annotator, body: Undo) -> Undone:
    """Take back one's last answer; the record keeps both."""
    server = server_of(request)
    with server.database.writing() as connection:
        recorded = undo_answer(connection, person, key=body.key, now=time.time())
        tasks = _next(connection, person, body.next) if body.next else None
    return Undone(assignment=recorded.assignment_id if recorded else None, next=tasks)


@router.get("/assignments/{assignment_id}/segments")
def show_segments(
    request: Request,
    person: Annotator,
    assignment_id: Annotated[int, Path(ge=1, le=MAX_NUMBER)],
) -> list[SegmentNumbers]:
    """Return observations and actions of a query in one's hands, in the order shown."""
    with server_of(request).database.reading() as connection:
        assignment = find_assignment(connection, person, assignment_id)
        segments = read_segments(connection, assignment.query_id)
    return [
        SegmentNumbers(
            observations=segments[place].observations.tolist(),
            actions=segments[place].actions.tolist(),
        )
        for place in assignment.order
    ]


def _next(connection: Connection, person: Person, number: int) -> Tasks:
    assignments = hand_out(connection, person, now=time.time(), number=number)
    progress = _progress(connection, person)
    state = find_study(connection, person.study_id).state
    tasks = [_task(connection, assignment) for assignment in assignments]
    if tasks or state != "open":
        return Tasks(state=state, tasks=tasks, progress=progress)
    is_waiting = progress.left > 0 or may_come(connection, person.study_id)
    return Tasks(state="waiting" if is_waiting else "finished", tasks=[], progress=progress)


def _task(connection: Connection, assignment: Assignment) -> TaskView:
    segments = [
        SegmentView(
            clip=f"/clips/{segment.segment_id}",
            media="film" if segment.is_film else "drawing",
            num_steps=segment.num_steps,
        )
        for segment in shown_segments(connection, assignment)
    ]
    return TaskView(assignment=assignment.id, segments=segments)


def _progress(connection: Connection, person: Person) -> Progress:
    return Progress(answered=num_answered(connection, person), left=num_left(connection, person))
