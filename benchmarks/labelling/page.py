"""What the documentation says of the records of labelling, made from them.

python benchmarks/labelling/page.py
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from pbrl.training.suite_report import put_on_page
from pbrl.training.tables import markdown

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "benchmarks" / "results" / "labelling"
PAGE = ROOT / "docs" / "human-in-the-loop.md"
Record = Mapping[str, Any]


def body(records: Mapping[str, Record]) -> str:
    """Return what there is to say of the records, in the order of the sections."""
    sections: dict[str, Callable[[Record], str]] = {"faults": faults, "load": load, "live": live}
    return "\n\n".join(say(records[name]) for name, say in sections.items() if name in records)


def faults(record: Record) -> str:
    """Return what the kills came to."""
    rows = [
        [
            f"the {part}",
            str(record[part]["kills"]),
            str(record[part]["acknowledged"]),
            str(record[part].get("queries", "–")),
            str(record[part]["lost"]),
            str(record[part]["twice"]),
        ]
        for part in ("server", "trainer")
        if part in record
    ]
    header = ["killed", "times", "answers acknowledged", "queries asked", "lost", "twice"]
    text = (
        "**Faults.** Signal 9 at random moments while programs label, a share of their answers "
        "sent twice at once; every third time that the trainer dies, the server dies with it. What "
        "the runs have learned from in the end is what was answered."
    )
    return _section(text, markdown(header, rows), "faults")


def load(record: Record) -> str:
    """Return how long answers take."""
    is_met = "met" if record["is_met"] else "not met"
    return _section(
        f"**Load.** {record['annotators']} annotators for {record['seconds']:.0f} seconds on "
        f"SQLite, each answering about {record['think_seconds']:g} s after a query is shown, which "
        f"is faster than people are: {record['labels_per_second']:.0f} labels per second; from "
        f"sending an answer until it is acknowledged {record['p50_milliseconds']:.0f} ms in the "
        f"median and {record['p99_milliseconds']:.0f} ms at the 99th percentile; "
        f"{record['lost']} lost, {record['twice']} twice. {surroundings(record)} The aim is a 99th "
        f"percentile below {record['aim_p99_milliseconds']:.0f} ms: here {is_met}.",
        "",
        "load",
    )


def live(record: Record) -> str:
    """Return how a run with a late teacher compares."""
    names = {"in_process": "in the process, at once", "over_http": "over HTTP, late, in any order"}
    rows = [
        [name, f"{record[key]['mean']:.0f}", _interval(record[key]["interval"])]
        for key, name in names.items()
    ]
    difference = record["difference"]
    rows.append(["difference", f"{difference['mean']:.0f}", _interval(difference["interval"])])
    text = (
        f"**A live run.** {record['agent'].upper()} on {record['env']}, {record['steps']:,} steps, "
        f"{len(record['seeds'])} seeds, 80 labels; the mean of the last three evaluations, where a "
        f"random policy has {record['random_score']:.0f}. The teacher over HTTP takes up to "
        f"{record['think_seconds']:.0f} s for a query while the run goes on."
    )
    return _section(text, markdown(["teacher", "mean return", "95 % interval"], rows), "live")


def surroundings(record: Record) -> str:
    """Return on what machine it was, where that matters."""
    cores = record["machine"]["cores"]
    busy = record["running_beside_others"]
    if record["is_idle"]:
        return f"The machine has {cores} cores and was otherwise idle."
    first = ", but the measured ones came first" if record["comes_before_others"] else ""
    return (
        f"The machine has {cores} cores and was busy: {busy} processes wanted to run at the end"
        f"{first}."
    )


def _section(text: str, table: str, name: str) -> str:
    parts = [fill(text, 100), table, f"`python benchmarks/{name}_labelling.py`"]
    return "\n\n".join(part for part in parts if part)


def _interval(interval: list[float]) -> str:
    low, high = interval
    return f"{low:.0f} to {high:.0f}"


def update_page(page: Path = PAGE, folder: Path = RECORDS) -> None:
    """Put what the records say into the page."""
    records = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    put_on_page(page, "labelling", body(records), heading="# Labelling\n")


if __name__ == "__main__":
    update_page()
