"""Requests over HTTP that are tried again, with the standard library alone."""

import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

AGAIN = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class Retries:
    """How a request is tried again.

    The n-th pause lasts `first_pause` * 2^n seconds, at most `longest_pause`, shortened at random
    to between half and the whole, so that many clients do not come back at once; a longer one that
    the server asks for (Retry-After) is kept.

    Attributes:
        attempts: how often a request is sent at most.
        first_pause: seconds.
        longest_pause: seconds.
        timeout: seconds that one attempt may take.
    """

    attempts: int = 8
    first_pause: float = 0.5
    longest_pause: float = 30.0
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {self.attempts}")
        for name in ("first_pause", "longest_pause", "timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def pause(self, attempt: int, asked: float, rng: random.Random) -> float:
        """Return how long to wait after an attempt, counted from 0."""
        longest = min(self.longest_pause, self.first_pause * 2.0**attempt)
        return max(asked, longest * (0.5 + 0.5 * rng.random()))


@dataclass(frozen=True)
class Sent:
    """What came back."""

    status: int
    body: bytes


class Refused(ValueError):
    """The server refused a request for good.

    Attributes:
        status: of the response.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the server refused with {status}: {reason}")
        self.status = status


class Unreachable(OSError):
    """The server did not answer, however often it was asked."""


def send(
    method: str,
    url: str,
    body: Any = None,
    *,
    headers: Mapping[str, str] | None = None,
    retries: Retries,
) -> Sent:
    """Send a request, again if need be, and return what came back.

    Args:
        method: of HTTP.
        url: http or https.
        body: sent as JSON; None sends nothing.
        headers: beside those of the body.
        retries: how often and how long to try.

    Raises:
        Refused: for a status that trying again does not change.
        Unreachable: after the last attempt.
        ValueError: for another kind of address.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"an address starts with http:// or https://, got {url!r}")
    data = None if body is None else json.dumps(body).encode()
    given = {**(headers or {}), **({} if data is None else {"Content-Type": "application/json"})}
    rng, reason = random.Random(), ""  # noqa: S311  spreads pauses
    for attempt in range(retries.attempts):
        request = urllib.request.Request(url, data, given, method=method)  # noqa: S310  see above
        asked = 0.0
        try:
            with urllib.request.urlopen(request, timeout=retries.timeout) as response:  # noqa: S310
                return Sent(response.status, response.read())
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read(2_000).decode(errors="replace")
            if error.code not in AGAIN:
                raise Refused(error.code, reason) from None
            asked, reason = _retry_after(error), f"{error.code} {reason}"
        except (OSError, HTTPException) as error:
            reason = str(error)
        if attempt + 1 < retries.attempts:
            time.sleep(retries.pause(attempt, asked, rng))
    raise Unreachable(f"{url} did not answer {retries.attempts} times: {reason}")


def _retry_after(error: urllib.error.HTTPError) -> float:
    try:
        return float(error.headers.get("Retry-After", 0))
    except ValueError:  # a date
        return 0.0
