"""Optional packages: what to install where a verb needs one that is missing."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

LABEL = ("fastapi", "itsdangerous", "jinja2", "psycopg", "sqlalchemy", "uvicorn")
"""Packages of the extra `label`, by the names that are imported."""


@contextmanager
def needs_extra(extra: str, packages: Collection[str]) -> Iterator[None]:
    """Name the extra to install when one of its packages is missing.

    Raises:
        ImportError: saying so.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in packages:
            raise
        raise ImportError(
            f"the package {package} is not installed: pip install 'pbrl[{extra}]'"
        ) from None
