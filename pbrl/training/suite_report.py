"""The table and the figures of a suite, made from its records alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pbrl.training.files import write_text
from pbrl.training.plots import Against, learning_curves, save_figure
from pbrl.training.result import Result
from pbrl.training.suites import Suite
from pbrl.training.tables import recovery_table, suite_table

HEADING = "# Benchmarks\n\nEvery table and figure here is made from the records by a command.\n"


def write_report(suite: Suite, results: Sequence[Result], page: Path) -> list[Path]:
    """Write a suite's part of a page between its markers, and its figures beside the page.

    Args:
        suite: what was to be run.
        results: the records there are, at least one.
        page: a markdown file; created if it does not exist.

    Returns:
        The files written.

    Raises:
        ValueError: if there are no records, or the page has one marker without the other.
    """
    if not results:
        raise ValueError(f"nothing of the suite {suite.name} is recorded yet")
    sides: list[Against] = ["steps"]
    if any(result.labels_asked and not result.dataset for result in results):  # online they grow
        sides.append("labels")
    figures = []
    for against in sides:
        figure = learning_curves(results, np.random.default_rng(0), against=against)
        for ending in ("svg", "png"):
            figures.append(page.parent / "figures" / f"{suite.name}-{against}.{ending}")
            save_figure(figure, figures[-1])
    put_on_page(page, suite.name, _body(suite, results, sides), heading=HEADING)
    return [page, *figures]


def put_on_page(page: Path, name: str, body: str, *, heading: str) -> None:
    """Write `body` between the markers of `name` on a page; what else stands there stays.

    Args:
        page: a markdown file.
        name: of the markers.
        body: markdown.
        heading: begins the page if there is none yet.

    Raises:
        ValueError: if the page has one marker without the other.
    """
    text = page.read_text(encoding="utf-8") if page.exists() else heading
    write_text(page, replace_between_markers(text, name, body))


def replace_between_markers(text: str, name: str, body: str) -> str:
    """Return `text` with `body` between the markers of `name`, appended if it has none.

    Raises:
        ValueError: if there is one marker without the other.
    """
    begin, end = f"<!-- suite {name} -->", f"<!-- end of suite {name} -->"
    if (begin in text) != (end in text):
        raise ValueError(f"the page has only one of the markers {begin!r} and {end!r}")
    if begin not in text:
        return f"{text.rstrip()}\n\n{begin}\n{body}\n{end}\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{body}\n{end}{after}"


def _body(suite: Suite, results: Sequence[Result], sides: Sequence[Against]) -> str:
    figures = (
        f"![{suite.title}, against {against}](figures/{suite.name}-{against}.svg)"
        for against in sides
    )
    parts = [
        f"## {suite.title}",
        suite.description.strip(),
        f"`pbrl benchmark {suite.name}`, {len(results)} of {len(suite.runs())} runs recorded, "
        f"{_origin(results)}.",
        suite_table(results, np.random.default_rng(0)).strip(),
        recovery_table(results).strip(),
        *figures,
    ]
    return "\n\n".join(part for part in parts if part)


def _origin(results: Sequence[Result]) -> str:
    """Return on what the records were made and how long that took."""
    hours = sum(result.wall_seconds for result in results) / 3_600
    machines = {_processor(result) for result in results}
    names = ("pbrl", "torch", "mujoco")
    versions = {
        ", ".join(f"{name} {result.versions[name]}" for name in names if name in result.versions)
        for result in results
    }
    where, what = " or ".join(sorted(machines)), " or ".join(sorted(versions))
    return f"{hours:,.1f} hours of runs on {where} with {what}"


def _processor(result: Result) -> str:
    machine = result.machine
    return str(machine.get("gpu") or f"{machine.get('cpu')} ({machine.get('cores')} cores)")
