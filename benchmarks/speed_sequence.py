"""Measure sequence models against the official programs, in turns in one process.

    python benchmarks/speed_sequence.py --oppo-checkout ../OPPO --dtr-checkout ../DTR

The checkouts are those of github.com/bkkgbkjb/OPPO and TU2021/DTR; without them only our own
updates are timed. Both sides learn from the same batch and start from the same parameters, and the
losses of one update without dropout are compared as well as the times. Acting is timed with the
cache of keys and values and without, and what a sampler of windows keeps is counted. The rest is as
in `speed_online.py`.
"""

from functools import partial
from pathlib import Path

import tyro
from speed.program import run
from speed.sequence_agents import acting, dtr_updates, memory, oppo_updates

SECTIONS = ("oppo", "dtr", "acting", "memory")


def main(
    *,
    threads: int = 1,
    rounds: int = 3,
    sections: tuple[str, ...] = SECTIONS,
    oppo_checkout: Path | None = None,
    dtr_checkout: Path | None = None,
    output: Path | None = None,
    page: Path | None = None,
) -> None:
    """Run the sections, print the table, write the figures and the page.

    Args:
        threads: torch threads.
        rounds: turns that every contender gets.
        sections: names in `SECTIONS`.
        oppo_checkout: folder of the official OPPO.
        dtr_checkout: folder of the official DTR.
        output: JSON file; benchmarks/speed/results/sequence-THREADS.json when not given.
        page: markdown page; docs/speed.md when neither it nor `output` is given and all sections
            ran, otherwise none.
    """
    measured = {
        "oppo": partial(oppo_updates, checkout=oppo_checkout),
        "dtr": partial(dtr_updates, checkout=dtr_checkout),
        "acting": acting,
        "memory": memory,
    }
    run(
        "sequence",
        measured,
        sections,
        threads=threads,
        rounds=rounds,
        output=output,
        page=page,
    )


if __name__ == "__main__":
    tyro.cli(main)
