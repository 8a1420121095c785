"""What the web application needs to know."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SECRET_BYTES = 32
SECRET_FILE = "cookie-key"  # noqa: S105  the name of a file
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def check_url(url: str) -> None:
    """Refuse what is no address of a server.

    Raises:
        ValueError: saying what one is.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise ValueError(f"url must be http(s)://host[:port], got {url!r}")


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """Settings of one server.

    Attributes:
        clips: folder of the clips.
        secret: signs cookies; whoever knows it can enter every study.
        url: what browsers call this server by, without a path. With https cookies are sent over
            encrypted connections only.
        login_rate: attempts to enter per minute that one address has.
        request_rate: requests per second that one person has, clips apart.
    """

    clips: Path
    secret: str
    url: str = "http://127.0.0.1:8000"
    login_rate: float = 20.0
    request_rate: float = 20.0

    def __post_init__(self) -> None:
        check_url(self.url)

    @property
    def is_secure(self) -> bool:
        """Whether browsers come over TLS."""
        return self.url.startswith("https:")

    @property
    def origin(self) -> str:
        """The address as browsers write it into the header Origin."""
        return self.url.rstrip("/")

    @property
    def hosts(self) -> list[str]:
        """Names under which the server answers; others may be a page that rebinds a name."""
        host = urlsplit(self.url).hostname or ""
        return sorted({*LOOPBACK, f"[{host}]" if ":" in host else host})


def load_secret(folder: Path) -> str:
    """Return the key that signs cookies, made when it is missing and readable by its owner only."""
    path = folder / SECRET_FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text("ascii").strip()
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(SECRET_BYTES))
    return load_secret(folder)
