"""The pages that people see, and the clips on them."""

import datetime
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathPart
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from pbrl.queries.human.clips import clip_file
from pbrl.queries.human.errors import NotFound
from pbrl.queries.human.live_runs import list_runs
from pbrl.queries.human.report import study_report
from pbrl.queries.human.studies import find_study
from pbrl.queries.human.web.access import Visitor, find_visitor, limit_rate, server_of
from pbrl.queries.human.web.run_view import run_view
from pbrl.queries.human.web.schemas import MAX_NUMBER

FOLDER = Path(__file__).parent
KEEP_CLIP = "private, max-age=86400, immutable"  # the content of a segment never changes
MEDIA = {".mp4": "video/mp4", ".png": "image/png"}

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(FOLDER / "templates")


def _share(share: Any) -> str:
    """Return a share with its interval in percent, or a dash."""
    if share.cases == 0:
        return "–"
    return f"{share.value:.0%} ({share.low:.0%}–{share.high:.0%}) of {share.cases}"


def _coefficient(coefficient: Any) -> str:
    if coefficient is None or coefficient.value != coefficient.value:  # NaN is not itself
        return "–"
    return f"{coefficient.value:.2f} ({coefficient.low:.2f} to {coefficient.high:.2f})"


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%d %b %H:%M UTC")


templates.env.filters |= {"share": _share, "coefficient": _coefficient, "moment": _moment}


@router.get("/")
def start(request: Request) -> Response:
    """Send everybody to their page."""
    visitor = find_visitor(request)
    if visitor is None:
        return _page(request, "start.html", None)
    return RedirectResponse(_home(visitor), 303)


@router.get("/join")
def join(request: Request) -> Response:
    """Let somebody enter by the token after the #, which only the browser sees."""
    return _page(request, "join.html", None)


@router.get("/label")
def label(request: Request) -> Response:
    """Show the page on which annotators label."""
    visitor = find_visitor(request)
    if visitor is None or visitor.person.role == "owner":
        return RedirectResponse("/" if visitor is None else _home(visitor), 303)
    with server_of(request).database.reading() as connection:
        study = find_study(connection, visitor.person.study_id)
    return _page(request, "label.html", visitor, study=study, config=study.config)


@router.get("/admin")
def admin(request: Request) -> Response:
    """Show owners how their study stands."""
    return _admin(request, "admin.html")


@router.get("/admin/panel")
def admin_panel(request: Request) -> Response:
    """Return the part of the owners' page that changes."""
    return _admin(request, "panel.html")


@router.get("/admin/conflicts")
def admin_conflicts(request: Request) -> Response:
    """Return the queries on which people do not agree."""
    return _admin(request, "conflicts.html")


@router.get("/clips/{segment_id}")
def clip(request: Request, segment_id: Annotated[int, PathPart(ge=1, le=MAX_NUMBER)]) -> Response:
    """Return a clip to whoever was given the query that it belongs to."""
    server, visitor = server_of(request), find_visitor(request)
    if visitor is None:
        raise NotFound("there is no such clip for you")
    limit_rate(server.clips, str(visitor.person.id))
    with server.database.reading() as connection:
        path = clip_file(connection, visitor.person, segment_id, server.settings.clips)
    if not path.is_file():
        raise NotFound("the clip is missing")
    return FileResponse(path, media_type=MEDIA[path.suffix], headers={"Cache-Control": KEEP_CLIP})


def error_page(request: Request, status: int, reason: str) -> Response:
    """Return a page that says why there is no other."""
    title = {404: "There is no such page", 429: "Too many requests"}.get(
        status, "That is not possible"
    )
    reason = "The address may be cut off, or is not meant for you." if status == 404 else reason  # noqa: PLR2004
    return _page(request, "error.html", None, status=status, title=title, reason=reason)


def _admin(request: Request, template: str) -> Response:
    visitor = find_visitor(request)
    if visitor is None or visitor.person.role != "owner":
        return RedirectResponse("/" if visitor is None else _home(visitor), 303)
    with server_of(request).database.reading() as connection:
        study = find_study(connection, visitor.person.study_id)
        report = study_report(connection, study)
        runs = [run_view(run, time.time()) for run in list_runs(connection, study.id)]
    about: dict[str, Any] = {"study": study, "config": study.config}
    content = about | {"report": report, "runs": runs}
    return _page(request, template, visitor, **content)


def _home(visitor: Visitor) -> str:
    return "/admin" if visitor.person.role == "owner" else "/label"


def _page(
    request: Request,
    template: str,
    visitor: Visitor | None,
    *,
    status: int = 200,
    **content: Any,
) -> Response:
    sessions = server_of(request).sessions
    session = None if visitor is None else visitor.session
    token = "" if session is None else sessions.csrf_token(session)
    person = None if visitor is None else visitor.person
    return templates.TemplateResponse(
        request, template, {"csrf_token": token, "person": person, **content}, status_code=status
    )
