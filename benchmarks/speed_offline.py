"""Measure the updates of offline agents against the official programs, in turns in one process.

    python benchmarks/speed_offline.py --cpl-checkout ../cpl --ipl-checkout ../ipl

The checkouts are those of github.com/jhejna/cpl and jhejna/inverse-preference-learning; without
them only our own updates are timed. Both sides learn from the same batch and start from the same
parameters, and the losses of one update are compared as well as the times. The rest is as in
`speed_online.py`.
"""

from functools import partial
from pathlib import Path

import tyro
from speed.offline_agents import cpl_updates, ipl_updates, iql_updates, p_iql_updates
from speed.program import run

SECTIONS = ("cpl", "ipl", "iql", "p-iql")


def main(
    *,
    threads: int = 1,
    rounds: int = 3,
    sections: tuple[str, ...] = SECTIONS,
    cpl_checkout: Path | None = None,
    ipl_checkout: Path | None = None,
    output: Path | None = None,
    page: Path | None = None,
) -> None:
    """Run the sections, print the table, write the figures and the page.

    Args:
        threads: torch threads.
        rounds: turns that every contender gets.
        sections: names in `SECTIONS`.
        cpl_checkout: folder of the official CPL, for CPL and P-IQL.
        ipl_checkout: folder of the official IPL, for IPL and IQL.
        output: JSON file; benchmarks/speed/results/offline-THREADS.json when not given.
        page: markdown page; docs/speed.md when neither it nor `output` is given and all sections
            ran, otherwise none.
    """
    measured = {
        "cpl": partial(cpl_updates, checkout=cpl_checkout),
        "ipl": partial(ipl_updates, checkout=ipl_checkout),
        "iql": partial(iql_updates, checkout=ipl_checkout),
        "p-iql": partial(p_iql_updates, checkout=cpl_checkout),
    }
    run(
        "offline",
        measured,
        sections,
        threads=threads,
        rounds=rounds,
        output=output,
        page=page,
    )


if __name__ == "__main__":
    tyro.cli(main)
