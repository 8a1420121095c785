"""The application: its parts put together, and what becomes of errors."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

import pbrl
from pbrl.queries.human.database import Database
from pbrl.queries.human.errors import Conflict, NotFound
from pbrl.queries.human.web import admin_api, api, pages
from pbrl.queries.human.web.access import Server
from pbrl.queries.human.web.guards import HEADERS, BodyLimit, SecurityHeaders
from pbrl.queries.human.web.settings import WebSettings

DESCRIPTION = """People and programs label segments of robot behaviour.

Browsers enter with the token of an invitation (`POST /api/session`), get a cookie, and send the
key of their page as `X-CSRF-Token` with every change. Programs send the token itself as
`Authorization: Bearer TOKEN` and need neither.

A program labels so: `POST /api/next`, look at the clips or at
`GET /api/assignments/{id}/segments`, `POST /api/answers`. A request that got no response can be
sent again with the same `key`: it is recorded once."""

log = logging.getLogger(__name__)


def create_app(database: Database, settings: WebSettings) -> FastAPI:
    """Return the application that serves the studies of a database."""
    app = FastAPI(
        title="pbrl labelling",
        version=pbrl.__version__,
        description=DESCRIPTION,
        openapi_url="/api/openapi.json",
        docs_url=None,  # their pages load programs from other hosts
        redoc_url=None,
    )
    app.state.server = Server.of(database, settings)
    for router in (api.router, admin_api.router, pages.router):
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=pages.FOLDER / "static"))
    for kind, status in _STATUS.items():
        app.add_exception_handler(kind, _refusal(status))
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _failed)
    app.add_exception_handler(OperationalError, _busy)
    app.add_middleware(BodyLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=settings.hosts)
    app.add_middleware(SecurityHeaders, is_secure=settings.is_secure)
    return app


_STATUS: dict[type[Exception], int] = {NotFound: 404, Conflict: 409, ValueError: 422}


def _refusal(status: int) -> Any:
    async def refuse(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status)

    return refuse


async def _refused(request: Request, error: Exception) -> Response:
    """Show a page to whoever looks at one, and the reason as JSON to programs."""
    assert isinstance(error, HTTPException)
    if "text/html" in request.headers.get("accept", ""):
        return pages.error_page(request, error.status_code, str(error.detail))
    return await http_exception_handler(request, error)


async def _failed(_: Request, error: Exception) -> JSONResponse:
    """Say that the fault is the server's; what it was is in its log alone."""
    del error
    detail = "the server made a mistake; its log says which"
    return JSONResponse({"detail": detail}, 500, HEADERS)


async def _malformed(_: Request, error: Exception) -> JSONResponse:
    """Say what is wrong with a request without repeating what came, which may be no text."""
    assert isinstance(error, RequestValidationError)
    details = [
        {"where": ".".join(map(str, one["loc"])), "reason": one["msg"]} for one in error.errors()
    ]
    return JSONResponse({"detail": details}, 422)


async def _busy(_: Request, error: Exception) -> JSONResponse:
    log.warning("the database does not answer: %s", error)
    return JSONResponse(
        {"detail": "the database does not answer; try again"}, 503, {"Retry-After": "2"}
    )
