"""Who may do what: annotators, programs and owners, each with a token for one study."""

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from pbrl.queries.human import tables
from pbrl.queries.human.errors import Conflict, NotFound
from pbrl.queries.human.studies import record_event

Role = Literal["annotator", "program", "owner"]

TOKEN_BYTES = 32
MAX_NAME = 60
FINGERPRINT_LENGTH = 24


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody who may enter a study.

    Attributes:
        id: number in the database.
        study_id: the only study that the token opens.
        name: unique in the study.
        role: annotators label in a browser, programs through the interface, owners see everybody's
            labels and give none.
        is_revoked: whether the token has been taken back.
        fingerprint: part of the hash of the token, another one when the token is renewed.
    """

    id: int
    study_id: int
    name: str
    role: Role
    is_revoked: bool
    fingerprint: str


def token_hash(token: str) -> str:
    """Return what the database keeps of a token.

    A token is 256 random bits, so that one round of SHA-256 is enough: nobody can guess them.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def invite(
    connection: Connection, study_id: int, name: str, role: Role = "annotator"
) -> tuple[Person, str]:
    """Add somebody to a study and return the token, which is kept nowhere.

    Raises:
        ValueError: if the name is none.
        Conflict: if the study has somebody of that name.
    """
    is_readable = name.isprintable() and name == name.strip() and name[:1].isalnum()
    if not (is_readable and len(name) <= MAX_NAME):
        raise ValueError(
            f"a name has 1 to {MAX_NAME} printable characters, a letter or digit first, "
            f"got {name!r}"
        )
    column = tables.annotator.c
    taken = select(column.id).where(column.study_id == study_id, column.name == name)
    if connection.execute(taken).first():
        raise Conflict(f"the study has somebody called {name!r} already")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    connection.execute(
        insert(tables.annotator).values(
            study_id=study_id,
            name=name,
            role=role,
            token_hash=token_hash(token),
            created_at=time.time(),
        )
    )
    person = find_by_token(connection, token)
    record_event(connection, study_id, "invited", {"name": name, "role": role}, person.id)
    return person, token


def renew_token(connection: Connection, study_id: int, person_id: int) -> tuple[Person, str]:
    """Return somebody with a new token; the old one no longer works.

    Raises:
        NotFound: if the study has no such person.
    """
    person = _find_in_study(connection, study_id, person_id)
    token = secrets.token_urlsafe(TOKEN_BYTES)
    _change(connection, person_id, token_hash=token_hash(token), revoked_at=None)
    record_event(connection, study_id, "renewed", {"name": person.name}, person_id)
    return find_person(connection, person_id), token


def revoke(connection: Connection, study_id: int, person_id: int) -> None:
    """Take somebody's token back; sessions that it opened end as well. Their answers stay.

    Raises:
        NotFound: if the study has no such person.
    """
    person = _find_in_study(connection, study_id, person_id)
    _change(connection, person_id, revoked_at=time.time())
    record_event(connection, study_id, "revoked", {"name": person.name}, person_id)


def find_by_token(connection: Connection, token: str) -> Person:
    """Return whose token this is.

    Raises:
        NotFound: if it is nobody's, or was taken back.
    """
    return _find(connection, tables.annotator.c.token_hash == token_hash(token), is_open=True)


def find_person(connection: Connection, person_id: int) -> Person:
    """Return somebody by number, revoked or not.

    Raises:
        NotFound: if there is nobody.
    """
    return _find(connection, tables.annotator.c.id == person_id, is_open=False)


def list_people(connection: Connection, study_id: int) -> list[Person]:
    """Return everybody in a study, in the order of invitation."""
    column = tables.annotator.c
    rows = select(tables.annotator).where(column.study_id == study_id).order_by(column.id)
    return [_person(row) for row in connection.execute(rows).mappings()]


def _find_in_study(connection: Connection, study_id: int, person_id: int) -> Person:
    person = find_person(connection, person_id)
    if person.study_id != study_id:
        raise NotFound(f"the study has no person {person_id}")
    return person


def _find(connection: Connection, condition: Any, *, is_open: bool) -> Person:
    row = connection.execute(select(tables.annotator).where(condition)).mappings().first()
    if row is None or (is_open and row["revoked_at"] is not None):
        raise NotFound("this invitation is not valid (any more)")
    return _person(row)


def _change(connection: Connection, person_id: int, **values: Any) -> None:
    row = tables.annotator.c.id == person_id
    connection.execute(update(tables.annotator).where(row).values(**values))


def _person(row: Mapping[Any, Any]) -> Person:
    return Person(
        id=row["id"],
        study_id=row["study_id"],
        name=row["name"],
        role=row["role"],
        is_revoked=row["revoked_at"] is not None,
        fingerprint=row["token_hash"][:FINGERPRINT_LENGTH],
    )
