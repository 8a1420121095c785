"""Align two toy tasks whose segments may be mirrored, with and without an anchor.

    python benchmarks/mirror_toy.py
    python benchmarks/mirror_toy.py --page-only    # the table of the record that is there

Segments come some way along a line, which has another direction and unit in the target. Where the
ways are spread evenly, best to worst reversed is as good an alignment by distances as the right
one. Counts how often that happens and what the orientation check says of it; a few seconds of one
core. Writes a record and puts its table into a page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
import tyro
from records import read_record, write_record
from toys.lines import Spread, make_task

from pbrl.offline.transfer import TransferConfig, transfer_labels
from pbrl.offline.transfer.features import Anchor
from pbrl.randomness import Generators
from pbrl.training.label_transfer import describe
from pbrl.training.suite_report import put_on_page
from pbrl.training.tables import markdown

ROOT = Path(__file__).parents[1]
ANCHORS: tuple[Anchor, ...] = ("none", "progress", "path-length")
SEGMENTS = 12
PURPOSES = ("source", "target", "transfer")
REFERENCE: Mapping[tuple[str, str], str] = {
    ("skewed", "none"): "79 %, 20 %",
    ("skewed", "progress"): "95 %, 0 %",
    ("uniform", "none"): "53 %, 47 %",
    ("uniform", "progress"): "98 %, 0 %",
}
"""Right pairs and inverted runs of a plain program of the same description, 30 seeds, whose anchor
is how long a way segments go without noise."""
HEADER = (
    "spread", "anchor", "right pairs", "inverted runs", "refused of these", "refused of the others",
    "their rivalry at least", "reference",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure and where to write it.

    Attributes:
        seeds: of tasks and alignments.
        record: JSON file of the figures.
        page: page that holds their table.
        page_only: make the table from the record there is.
    """

    seeds: int = 30
    record: Path = ROOT / "benchmarks" / "results" / "mirror-toy.json"
    page: Path = ROOT / "docs" / "credit-and-transfer.md"
    page_only: bool = False


def row_of(spread: Spread, anchor: Anchor, seed: int) -> dict[str, Any]:
    """Return what one alignment came to."""
    generators = Generators(seed, PURPOSES)
    source, scores = make_task(spread, generators["source"], is_turned=False)
    target, _ = make_task(spread, generators["target"], is_turned=True)
    config = TransferConfig(
        segments=SEGMENTS, rounds=1, anchor=anchor, min_confidence=0.0, ambiguous="warn"
    )
    made = transfer_labels(source, scores, target, config, generators["transfer"])
    orientation = made.rounds[0].orientation
    assert orientation is not None  # PGD comes to a plan
    return {
        "spread": spread,
        "anchor": anchor,
        "seed": seed,
        "right": describe(made, target)["accuracy_of_all"],
        "rivalry": orientation.rivalry,
        "similarity": orientation.similarity,
        "is_refused": orientation.is_ambiguous(config.max_rivalry),
    }


def table(record: Mapping[str, Any]) -> str:
    """Return a markdown table, a line for each spread and anchor."""
    rows = record["rows"]
    kinds = dict.fromkeys((row["spread"], row["anchor"]) for row in rows)
    return markdown(HEADER, [_line(kind, rows) for kind in kinds])


def _line(kind: tuple[str, str], rows: list[dict[str, Any]]) -> list[str]:
    same = [row for row in rows if (row["spread"], row["anchor"]) == kind]
    inverted = [row for row in same if row["right"] < 0.5]  # noqa: PLR2004  of all pairs
    others = [row for row in same if row not in inverted]
    return [
        *kind,
        f"{np.mean([row['right'] for row in same]):.0%}",
        f"{len(inverted)} of {len(same)}",
        f"{sum(row['is_refused'] for row in inverted)} of {len(inverted)}" if inverted else "–",
        f"{sum(row['is_refused'] for row in others)} of {len(others)}",
        f"{min(row['rivalry'] for row in inverted):.2f}" if inverted else "–",
        REFERENCE.get(kind, "–"),
    ]


def write_page(record: Mapping[str, Any], page: Path) -> None:
    """Put the table of a record into a markdown page; what else stands there stays."""
    seeds = len({row["seed"] for row in record["rows"]})
    body = (
        f"`python benchmarks/mirror_toy.py`, {seeds} seeds, {SEGMENTS} segments of each task; "
        "right pairs and inverted runs of a plain program of the same description for reference."
        f"\n\n{table(record)}"
    )
    put_on_page(page, "mirror-toy", body, heading="# Credit and transfer\n")


def main(options: Options) -> None:
    """Align with every anchor."""
    torch.set_num_threads(1)
    if options.page_only:
        record = read_record(options.record)
    else:
        kinds = product(get_args(Spread), ANCHORS, range(options.seeds))
        record = write_record(options.record, rows=[row_of(*kind) for kind in kinds])
    write_page(record, options.page)
    print(table(record))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
