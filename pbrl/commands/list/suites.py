"""`pbrl list suites`: what `pbrl benchmark` can run."""

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from pbrl.training.suite_files import SUITES, need_checkout, suite_files


@dataclass(frozen=True, kw_only=True)
class SuitesOptions:
    """List the suites and what each compares.

    Attributes:
        root: folder that holds benchmarks/, as of `pbrl benchmark`.
    """

    root: Path = Path()


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl list suites` with the words after it.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if a file is no suite.
    """
    options = tyro.cli(SuitesOptions, args=list(arguments), prog="pbrl list suites")
    folder = options.root / SUITES
    files = suite_files(folder)
    if not files:
        raise FileNotFoundError(f"there is no suite: {need_checkout(folder)}")
    titles = {name: _title(path) for name, path in files.items()}
    width = max(map(len, titles))
    lines = [f"{name.ljust(width)}  {title}" for name, title in titles.items()]
    sys.stdout.write("\n".join(lines) + "\n")


def _title(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return str(tomllib.load(file).get("title", ""))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is no suite: {error}") from error
