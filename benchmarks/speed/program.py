"""What both speed programs share: their table, their page and their record."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pbrl.training.machine import machine, versions
from pbrl.training.suite_report import put_on_page
from pbrl.training.tables import markdown
from speed.measure import Row

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "speed" / "results"
Section = Callable[[int], list[Row]]
HEADER = ("section", "case", "contender", "ms", "CPU ms", "ratio", "note", "aim", "met")


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """Measure the sections, print the table, write the figures and the page.

    Attributes:
        threads: torch threads.
        rounds: turns that every contender gets.
        sections: names of what is measured; empty means all.
        output: JSON file; benchmarks/speed/results/PROGRAM-THREADS.json when it is not given and
            all sections ran, otherwise none.
        page: markdown page; docs/speed.md when neither it nor `output` is given and all sections
            ran, otherwise none.
    """

    threads: int = 1
    rounds: int = 3
    sections: tuple[str, ...] = ()
    output: Path | None = None
    page: Path | None = None


def cells(row: Row) -> tuple[str, ...]:
    """Return a row as the text of a table's columns."""
    times = [
        "" if time is None else f"{time:,.3f}" if time < 100 else f"{time:,.0f}"
        for time in (row.milliseconds, row.cpu_milliseconds)
    ]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    met = {None: "", True: "yes", False: "**no**"}[row.is_met]
    return (row.section, row.case, row.contender, *times, ratio, row.note, row.aim, met)


def report(rows: list[Row], title: str) -> Table:
    """Return the rows as a table."""
    table = Table(*HEADER, title=title)
    for row in rows:
        table.add_row(*cells(row))
    return table


def write_page(record: Mapping[str, Any], page: Path, name: str) -> None:
    """Put the table of a record into a markdown page; what else stands there stays.

    Args:
        record: what `measure` returned.
        page: markdown file, made if it is not there.
        name: of the program, between whose markers the table stands.
    """
    rows = [Row(**row) for row in record["rows"]]
    judged = [row for row in rows if row.is_met is not None]
    found, load = record["machine"], record["load_average"]
    packages = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    body = "\n\n".join(
        [
            f"{where(record)}, {found['cores']} cores, {record['threads']} torch thread(s), median "
            f"of {record['rounds']} rounds; programs that wanted a core, this one among them: "
            f"{load[0]:.1f} at the start and {load[1]:.1f} at the end. {packages}.",
            f"{sum(bool(row.is_met) for row in judged)} of {len(judged)} aims are met.",
            markdown(HEADER, [cells(row) for row in rows]),
        ]
    )
    put_on_page(page, f"speed-{name}-{record['threads']}", body, heading="# Speed\n")


def where(record: Mapping[str, Any]) -> str:
    """Return the processor of a record, and before it the GPU if that was measured."""
    found = record["machine"]
    if record.get("device", "cpu") == "cpu":
        return str(found["cpu"])
    return f"{found['gpu']}, {found['cpu']}"


def measure(
    sections: Mapping[str, Section], chosen: Iterable[str], *, threads: int, rounds: int
) -> dict[str, Any]:
    """Run the chosen sections and return the record."""
    torch.set_num_threads(threads)
    load_before = os.getloadavg()[0]
    rows = []
    for name in chosen:
        print(f"measuring {name}", flush=True)
        rows.extend(sections[name](rounds))
    return circumstances(threads, rounds, load_before) | {"rows": [vars(row) for row in rows]}


def circumstances(threads: int, rounds: int, load_before: float) -> dict[str, Any]:
    """Return what a record says of the machine and its load, of versions and of turns."""
    return {
        "machine": {name: value for name, value in machine().items() if value is not None},
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load_average": [load_before, os.getloadavg()[0]],
        "threads": threads,
        "rounds": rounds,
        "versions": versions(),
    }


def chosen_of(names: Iterable[str], there_are: Iterable[str]) -> tuple[str, ...]:
    """Return the chosen names, or all if none is.

    Raises:
        SystemExit: if there is no such thing.
    """
    everything, chosen = tuple(there_are), tuple(names)
    if unknown := set(chosen) - set(everything):
        raise SystemExit(f"unknown sections {sorted(unknown)}; there are {sorted(everything)}")
    return chosen or everything


def write_record(record: Mapping[str, Any], output: Path) -> None:
    """Write a record as JSON, and say so."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {output}")


def run(name: str, sections: Mapping[str, Section], options: SpeedOptions) -> None:
    """Run the chosen sections, print the table, write the figures and the page.

    Args:
        name: of the program.
        sections: what it can measure.
        options: what is measured, and where it goes.
    """
    chosen = chosen_of(options.sections, sections)
    threads, rounds = options.threads, options.rounds
    record = measure(sections, chosen, threads=threads, rounds=rounds)
    rows = [Row(**row) for row in record["rows"]]
    Console(width=180).print(report(rows, f"{threads} torch thread(s), median of {rounds} rounds"))
    output, page = options.output, options.page
    if output is None and set(chosen) == set(sections):
        output = RESULTS / f"{name}-{threads}.json"
        page = page or ROOT / "docs" / "speed.md"
    if output is not None:
        write_record(record, output)
    if page is not None:
        write_page(record, page, name)
        print(f"wrote {page}")
