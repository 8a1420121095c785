"""Measure sequence models against the official programs, in turns in one process.

    python benchmarks/speed_sequence.py --oppo-checkout ../OPPO --dtr-checkout ../DTR

The checkouts are those of github.com/bkkgbkjb/OPPO and TU2021/DTR; without them only our own
updates are timed. Both sides learn from the same batch and start from the same parameters, and the
losses of one update without dropout are compared as well as the times. Acting is timed with the
cache of keys and values and without, and what a sampler of windows keeps is counted. The rest is as
in `speed_online.py`.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro
from speed.program import Section, SpeedOptions, run
from speed.sequence_agents import acting, dtr_updates, memory, oppo_updates


@dataclass(frozen=True, kw_only=True)
class SequenceOptions(SpeedOptions):
    """Options of `SpeedOptions`, and where the official programs lie.

    Attributes:
        oppo_checkout: folder of the official OPPO.
        dtr_checkout: folder of the official DTR.
    """

    oppo_checkout: Path | None = None
    dtr_checkout: Path | None = None


def main(options: SequenceOptions) -> None:
    """Measure sequence models."""
    sections: dict[str, Section] = {
        "oppo": partial(oppo_updates, checkout=options.oppo_checkout),
        "dtr": partial(dtr_updates, checkout=options.dtr_checkout),
        "acting": acting,
        "memory": memory,
    }
    run("sequence", sections, options)


if __name__ == "__main__":
    main(tyro.cli(SequenceOptions, description=__doc__))
