"""Measure the parts of an online run against plain baselines, in turns within one process.

    python benchmarks/speed_online.py --threads 1

Every contender is timed once per round, round after round, so that a disturbance of the machine
meets all of them; the median over the rounds is reported. Ratios and aims go by processor time,
which another program's share is not part of. Prints one table, writes JSON, and puts the table
made from that JSON into a page.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from speed.environments import environment_steps
from speed.measure import Row
from speed.replay import replay_costs
from speed.reward import ensemble_training, relabelling
from speed.sac import sac_updates
from speed.samplers import samplers

from pbrl.training.machine import machine, versions
from pbrl.training.suite_report import replace_between_markers
from pbrl.training.tables import markdown

ROOT = Path(__file__).parents[1]
SECTIONS: Mapping[str, Callable[[int], list[Row]]] = {
    "sac": sac_updates,
    "ensemble": ensemble_training,
    "relabelling": relabelling,
    "samplers": samplers,
    "environments": environment_steps,
    "replay": replay_costs,
}
HEADER = ("section", "case", "contender", "ms", "CPU ms", "ratio", "note", "aim", "met")


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


def write_page(record: Mapping[str, Any], page: Path) -> None:
    """Put the table of a record into a markdown page; what else stands there stays."""
    rows = [Row(**row) for row in record["rows"]]
    judged = [row for row in rows if row.is_met is not None]
    found, load = record["machine"], record["load_average"]
    packages = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    body = "\n\n".join(
        [
            f"{found['cpu']}, {found['cores']} cores, {record['threads']} torch thread(s), median "
            f"of {record['rounds']} rounds; programs that wanted a core, this one among them: "
            f"{load[0]:.1f} at the start and {load[1]:.1f} at the end. {packages}.",
            f"{sum(bool(row.is_met) for row in judged)} of {len(judged)} aims are met.",
            markdown(HEADER, [cells(row) for row in rows]),
        ]
    )
    text = page.read_text(encoding="utf-8") if page.exists() else "# Speed\n"
    name = f"speed-online-{record['threads']}"
    page.write_text(replace_between_markers(text, name, body), encoding="utf-8")


def measure(threads: int, rounds: int, sections: tuple[str, ...]) -> dict[str, Any]:
    """Run the sections and return the record."""
    torch.set_num_threads(threads)
    load_before = os.getloadavg()[0]
    rows = []
    for name in sections:
        print(f"measuring {name}", flush=True)
        rows.extend(SECTIONS[name](rounds))
    return {
        "machine": {name: value for name, value in machine().items() if name in ("cpu", "cores")},
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "load_average": [load_before, os.getloadavg()[0]],
        "threads": threads,
        "rounds": rounds,
        "versions": versions(),
        "rows": [vars(row) for row in rows],
    }


def main(
    *,
    threads: int = 1,
    rounds: int = 3,
    sections: tuple[str, ...] = tuple(SECTIONS),
    output: Path | None = None,
    page: Path | None = None,
) -> None:
    """Run the sections, print the table, write the figures and the page.

    Args:
        threads: torch threads.
        rounds: turns that every contender gets.
        sections: names in `SECTIONS`.
        output: JSON file; benchmarks/speed/results/online-THREADS.json when not given.
        page: markdown page; docs/speed.md when neither it nor `output` is given and all sections
            ran, otherwise none.
    """
    unknown = set(sections) - set(SECTIONS)
    if unknown:
        raise SystemExit(f"unknown sections {sorted(unknown)}; there are {sorted(SECTIONS)}")
    record = measure(threads, rounds, sections)
    rows = [Row(**row) for row in record["rows"]]
    Console(width=180).print(report(rows, f"{threads} torch thread(s), median of {rounds} rounds"))
    if output is None and page is None and set(sections) == set(SECTIONS):
        page = ROOT / "docs" / "speed.md"
    path = output or ROOT / "benchmarks" / "speed" / "results" / f"online-{threads}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    if page is not None:
        write_page(record, page)
        print(f"wrote {page}")


if __name__ == "__main__":
    tyro.cli(main)
