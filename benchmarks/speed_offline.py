"""Measure the updates of offline agents against the official programs, in turns in one process.

    python benchmarks/speed_offline.py --cpl-checkout ../cpl --ipl-checkout ../ipl

The checkouts are those of github.com/jhejna/cpl and jhejna/inverse-preference-learning; without
them only our own updates are timed. Both sides learn from the same batch and start from the same
parameters, and the losses of one update are compared as well as the times. The rest is as in
`speed_online.py`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro
from speed.offline_agents import cpl_updates, ipl_updates, iql_updates, p_iql_updates
from speed.program import Section, SpeedOptions, run


@dataclass(frozen=True, kw_only=True)
class OfflineOptions(SpeedOptions):
    """Options of `SpeedOptions`, and where the official programs lie.

    Attributes:
        cpl_checkout: folder of the official CPL, for CPL and P-IQL.
        ipl_checkout: folder of the official IPL, for IPL and IQL.
    """

    cpl_checkout: Path | None = None
    ipl_checkout: Path | None = None


def main(options: OfflineOptions) -> None:
    """Measure the updates of offline agents."""
    sections: dict[str, Section] = {
        "cpl": partial(cpl_updates, checkout=options.cpl_checkout),
        "ipl": partial(ipl_updates, checkout=options.ipl_checkout),
        "iql": partial(iql_updates, checkout=options.ipl_checkout),
        "p-iql": partial(p_iql_updates, checkout=options.cpl_checkout),
    }
    run("offline", sections, options)


if __name__ == "__main__":
    main(tyro.cli(OfflineOptions, description=__doc__))
