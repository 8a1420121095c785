"""Measure what it takes to load a million rows of a dataset and to draw pairs of segments.

    python benchmarks/speed_offline_loading.py

Writes the same random episodes in every format into a temporary folder and loads them; memory is
that of a process of its own, at its peak, beyond what it held before. Times and aims as in
`speed_online.py`.
"""

from collections.abc import Mapping
from pathlib import Path

import tyro
from speed.loading import loading
from speed.program import Section, run

SECTIONS: Mapping[str, Section] = {"loading": loading}


def main(
    *, threads: int = 1, rounds: int = 3, output: Path | None = None, page: Path | None = None
) -> None:
    """Measure, print the table, write the figures and the page.

    Args:
        threads: torch threads.
        rounds: turns that every contender gets.
        output: JSON file; benchmarks/speed/results/offline-loading-THREADS.json when not given.
        page: markdown page; docs/speed.md when neither it nor `output` is given, otherwise none.
    """
    run(
        "offline-loading",
        SECTIONS,
        tuple(SECTIONS),
        threads=threads,
        rounds=rounds,
        output=output,
        page=page,
    )


if __name__ == "__main__":
    tyro.cli(main)
