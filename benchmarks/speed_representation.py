"""Measure what Hindsight PRIOR adds to a run, and how long aligning two tasks takes.

    python benchmarks/speed_representation.py

There is no official program to compare with. The rest is as in `speed_online.py`.
"""

from pathlib import Path

import tyro
from speed.program import run
from speed.representation import alignment, hindsight

SECTIONS = {"alignment": alignment, "hindsight": hindsight}


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
        sections: alignment, hindsight or both.
        output: JSON file; benchmarks/speed/results/representation-THREADS.json when not given.
        page: markdown page; docs/speed.md when neither it nor `output` is given and all sections
            ran, otherwise none.
    """
    run(
        "representation",
        SECTIONS,
        sections,
        threads=threads,
        rounds=rounds,
        output=output,
        page=page,
    )


if __name__ == "__main__":
    tyro.cli(main)
