"""Who is asking: by the cookie of a browser or the token of a program."""

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request, status

from pbrl.queries.human.database import Database
from pbrl.queries.human.errors import NotFound
from pbrl.queries.human.people import Person, find_by_token, find_person
from pbrl.queries.human.web.limits import RateLimiter
from pbrl.queries.human.web.sessions import Session, Sessions
from pbrl.queries.human.web.settings import WebSettings

CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
BURST_SECONDS = 4
LOGIN_BURST = 20.0
CLIP_FACTOR = 10  # a browser asks for parts of several clips at once
_BEARER = "bearer "
_SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True)
class Server:
    """What the handlers of requests share."""

    database: Database
    settings: WebSettings
    sessions: Sessions
    logins: RateLimiter
    requests: RateLimiter
    clips: RateLimiter

    @staticmethod
    def of(database: Database, settings: WebSettings) -> "Server":
        """Return a server's parts."""
        rate, login_rate = settings.request_rate, settings.login_rate
        return Server(
            database,
            settings,
            Sessions(settings.secret, is_secure=settings.is_secure),
            RateLimiter(login_rate / _SECONDS_PER_MINUTE, LOGIN_BURST),
            RateLimiter(rate, rate * BURST_SECONDS),
            RateLimiter(rate * CLIP_FACTOR, rate * CLIP_FACTOR * BURST_SECONDS),
        )


@dataclass(frozen=True)
class Visitor:
    """Somebody who may enter.

    Attributes:
        person: who.
        session: None for a program with a token.
    """

    person: Person
    session: Session | None


def server_of(request: Request) -> Server:
    """Return what the handlers share."""
    server: Server = request.app.state.server
    return server


def find_visitor(request: Request) -> Visitor | None:
    """Return who is asking, None if nobody we know.

    Raises:
        HTTPException: 401 or 429 for a wrong token.
    """
    server = server_of(request)
    header = request.headers.get("authorization", "")
    if header.lower().startswith(_BEARER):
        token = header[len(_BEARER) :].strip()
        return Visitor(person_by_token(server, token, client_of(request)), None)
    session = server.sessions.read(request.cookies.get(server.sessions.cookie))
    return None if session is None else _by_session(server, session)


def check_same_site(request: Request) -> None:
    """Refuse a change that a page of another site asks for.

    Raises:
        HTTPException: 403.
    """
    origin = request.headers.get("origin")
    own = {
        server_of(request).settings.origin,
        f"{request.url.scheme}://{request.headers.get('host')}",
    }
    is_foreign = request.headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if is_foreign or (origin is not None and origin not in own):
        raise HTTPException(status.HTTP_403_FORBIDDEN, "requests of other sites are not taken")


def require_visitor(request: Request) -> Visitor:
    """Return who is asking, after every check that a request to the interface has to pass.

    Raises:
        HTTPException: 401 for nobody, 403 for a change without the page's token, 429 for too many.
    """
    server, visitor = server_of(request), find_visitor(request)
    if visitor is None:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED,
            "open your invitation link again, or send its token as `Authorization: Bearer`",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if visitor.session is not None and request.method not in SAFE_METHODS:
        check_same_site(request)
        if not server.sessions.is_csrf_token(visitor.session, request.headers.get(CSRF_HEADER)):
            raise HTTPException(status.HTTP_403_FORBIDDEN, "reload the page: its key is missing")
    limit_rate(server.requests, str(visitor.person.id))
    return visitor


AnyVisitor = Annotated[Visitor, Depends(require_visitor)]


async def require_annotator(visitor: AnyVisitor) -> Person:
    """Return an annotator or a program.

    Raises:
        HTTPException: 403 for an owner, who sees everybody's labels.
    """
    if visitor.person.role == "owner":
        raise HTTPException(status.HTTP_403_FORBIDDEN, "owners do not label")
    return visitor.person


async def require_owner(visitor: AnyVisitor) -> Person:
    """Return the owner of a study.

    Raises:
        HTTPException: 403 for everybody else.
    """
    if visitor.person.role != "owner":
        raise HTTPException(status.HTTP_403_FORBIDDEN, "this is for the owner of the study")
    return visitor.person


Annotator = Annotated[Person, Depends(require_annotator)]
Owner = Annotated[Person, Depends(require_owner)]


def limit_rate(limiter: RateLimiter, key: str) -> None:
    """Let a request pass, or refuse it and say when to come again.

    Raises:
        HTTPException: 429.
    """
    seconds = limiter.wait_seconds(key)
    if seconds > 0:
        raise HTTPException(
            status.HTTP_429_TOO_MANY_REQUESTS,
            f"too many requests: wait {seconds:.1f} s",
            headers={"Retry-After": str(max(1, round(seconds)))},
        )


def person_by_token(server: Server, token: str, client: str) -> Person:
    """Return whose token this is; wrong guesses are counted by the address they come from.

    Raises:
        HTTPException: 401 or 429.
    """
    with server.database.reading() as connection:
        try:
            return find_by_token(connection, token)
        except NotFound as error:
            limit_rate(server.logins, client)
            raise HTTPException(status.HTTP_401_UNAUTHORIZED, str(error)) from None


def client_of(request: Request) -> str:
    """Return the address that a request comes from."""
    return request.client.host if request.client else "unknown"


def _by_session(server: Server, session: Session) -> Visitor | None:
    with server.database.reading() as connection:
        try:
            person = find_person(connection, session.person_id)
        except NotFound:
            return None
    is_valid = not person.is_revoked and hmac.compare_digest(
        person.fingerprint, session.fingerprint
    )
    return Visitor(person, session) if is_valid else None
