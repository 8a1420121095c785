"""Learn a reward from few labels with Hindsight PRIOR's term, given what is important.

    python benchmarks/hindsight_toy.py
    python benchmarks/hindsight_toy.py --page-only    # the table of the record that is there

One step in twenty of a segment is paid. Without the term, with the true importance, a uniform and
a random one: accuracy on unseen pairs and correlation with the true reward. About a minute of one
core; writes a record and puts its table into a page.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import tyro
from records import read_record, write_record
from toys.events import NUM_LABELS, STEPS, Importance, learn

from pbrl.training.suite_report import put_on_page
from pbrl.training.tables import markdown

ROOT = Path(__file__).parents[1]
# Weight, importance, detached; accuracy and correlation of a reference run of the same description.
Case = tuple[float, Importance, bool]
REFERENCE: Mapping[Case, tuple[float, float]] = {
    (0.0, "oracle", True): (0.593, 0.266),
    (1.0, "oracle", True): (0.728, 0.593),
    (1.0, "oracle", False): (0.736, 0.631),
    (10.0, "oracle", True): (0.746, 0.679),
    (10.0, "oracle", False): (0.812, 0.790),
    (100.0, "oracle", True): (0.830, 0.803),
    (100.0, "oracle", False): (0.873, 0.852),
    (10.0, "uniform", True): (0.580, 0.224),
    (10.0, "random", True): (0.580, 0.222),
}
HEADER = ("weight", "importance", "target", "unseen pairs right", "correlation", "reference")


def row_of(case: Case, seeds: int) -> dict[str, Any]:
    """Return a row of the record."""
    weight, importance, detach = case
    accuracy, correlation = learn(weight, importance, detach=detach, seeds=seeds)
    return {
        "weight": weight,
        "importance": importance,
        "detach": detach,
        "accuracy": accuracy.tolist(),
        "correlation": correlation.tolist(),
    }


def table(record: Mapping[str, Any]) -> str:
    """Return a markdown table; means over seeds, in parentheses the standard deviation."""
    lines = []
    for row in record["rows"]:
        accuracy, correlation = (torch.tensor(row[name]) for name in ("accuracy", "correlation"))
        reference = REFERENCE[row["weight"], row["importance"], row["detach"]]
        lines.append(
            [
                f"{row['weight']:g}",
                row["importance"] if row["weight"] else "–",
                ("detached" if row["detach"] else "not detached") if row["weight"] else "–",
                f"{accuracy.mean():.3f} ({accuracy.std():.3f})",
                f"{correlation.mean():.3f} ({correlation.std():.3f})",
                "{:.3f}, {:.3f}".format(*reference),
            ]
        )
    return markdown(HEADER, lines)


def write_page(record: Mapping[str, Any], page: Path) -> None:
    """Put the table of a record into a markdown page; what else stands there stays."""
    body = (
        f"`python benchmarks/hindsight_toy.py`, {record['seeds']} seeds, {NUM_LABELS} labels, "
        f"segments of {STEPS} steps; the standard deviation over seeds in parentheses, and "
        "accuracy and correlation of reference runs of the same description.\n\n"
        f"{table(record)}"
    )
    put_on_page(page, "hindsight-toy", body, heading="# Credit and transfer\n")


def main(
    seeds: int = 4,
    output: Path = ROOT / "benchmarks" / "results" / "hindsight-toy.json",
    page: Path = ROOT / "docs" / "credit-and-transfer.md",
    page_only: bool = False,
) -> None:
    """Learn with every weight and importance.

    Args:
        seeds: of data and networks.
        output: JSON file of the figures.
        page: page that holds their table.
        page_only: make the table from the record there is.
    """
    torch.set_num_threads(1)
    if page_only:
        record = read_record(output)
    else:
        record = write_record(output, seeds=seeds, rows=[row_of(case, seeds) for case in REFERENCE])
    write_page(record, page)
    print(table(record))


if __name__ == "__main__":
    tyro.cli(main)
