"""Sessions in signed cookies, and the tokens that keep other pages from using them."""

import dataclasses
import hmac
import secrets
from dataclasses import dataclass

from itsdangerous import BadSignature, Signer, URLSafeTimedSerializer

from pbrl.queries.human.people import Person

SESSION_SECONDS = 30 * 24 * 3600
_NONCE_BYTES = 16


@dataclass(frozen=True)
class Session:
    """What a cookie says.

    Attributes:
        person_id: who entered.
        fingerprint: of the token they entered with; a new token ends the sessions of the old one.
        nonce: names the session.
    """

    person_id: int
    fingerprint: str
    nonce: str


class Sessions:
    """Makes and reads the cookies of one server.

    Args:
        secret: signs them.
        is_secure: whether they are sent over TLS only.
    """

    def __init__(self, secret: str, *, is_secure: bool) -> None:
        # A browser takes a cookie named so only over TLS and for the whole host.
        self.cookie = "__Host-pbrl" if is_secure else "pbrl"
        self._serializer = URLSafeTimedSerializer(secret, salt="pbrl session")
        self._signer = Signer(secret, salt="pbrl csrf")

    def start(self, person: Person) -> tuple[Session, str]:
        """Return a new session and its cookie."""
        session = Session(person.id, person.fingerprint, secrets.token_urlsafe(_NONCE_BYTES))
        return session, self._serializer.dumps(dataclasses.astuple(session))

    def read(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, None if it is none of ours or too old."""
        if not cookie:
            return None
        try:
            person_id, fingerprint, nonce = self._serializer.loads(cookie, max_age=SESSION_SECONDS)
        except (BadSignature, ValueError, TypeError):
            return None
        return Session(person_id, fingerprint, nonce)

    def csrf_token(self, session: Session) -> str:
        """Return what a page of this session sends along with every change."""
        return self._signer.get_signature(session.nonce).decode()

    def is_csrf_token(self, session: Session, token: str | None) -> bool:
        """Say whether a token is this session's."""
        return token is not None and hmac.compare_digest(
            self.csrf_token(session).encode(), token.encode(errors="replace")
        )
