"""Modules of a user's own, which register environments when they are imported."""

import importlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parents[1]
IMPORTLIB = Path(importlib.__file__)


def import_own(module: str, env_id: str) -> ModuleType:
    """Return the module that registers an environment.

    Args:
        module: its name.
        env_id: the environment that is asked for.

    Raises:
        ValueError: if there is no such module, saying where one was looked for.
        ImportError: if importing it fails, for whatever reason, naming the line and the reason.
    """
    with naming_what_fails(module, env_id):
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # the module is there, and lacks another
            raise ValueError(
                f"unknown environment {env_id!r}: there is no module {error.name!r}, neither in "
                f"{Path.cwd()} nor on PYTHONPATH nor installed; start in the folder that holds it, "
                "or install it"
            ) from None


@contextmanager
def naming_what_fails(module: str, env_id: str) -> Iterator[None]:
    """Turn what goes wrong while a user's module is imported into one message.

    Args:
        module: its name.
        env_id: the environment that is asked for.

    Raises:
        ImportError: instead of any other error but a ValueError that names the environment.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and repr(env_id) in str(error):
            raise
        raise ImportError(
            f"{env_id}: importing the module {module!r} failed: {type(error).__name__}: {error}"
            f"{_place(error)}. Mend that first; `python -c 'import {module}'` shows it alone, and "
            "PBRL_TRACEBACK=1 in the environment the whole way here"
        ) from error


def _place(error: Exception) -> str:
    """Return where it was raised; a syntax error says so itself."""
    if isinstance(error, SyntaxError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_on_the_way(frame.filename)]
    return f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""


def _is_on_the_way(file: str) -> bool:
    """Return whether a file only leads to the user's module."""
    if file.startswith("<frozen"):  # the import system
        return True
    path = Path(file)
    return path.parents[1] == PACKAGE or path == IMPORTLIB or "gymnasium" in path.parts
