"""Measure what Hindsight PRIOR adds to a run, and how long aligning two tasks takes.

    python benchmarks/speed_representation.py

There is no official program to compare with. The rest is as in `speed_online.py`.
"""

import tyro
from speed.program import SpeedOptions, run
from speed.representation import alignment, hindsight

SECTIONS = {"alignment": alignment, "hindsight": hindsight}


def main(options: SpeedOptions) -> None:
    """Measure what a prior adds, and how long an alignment takes."""
    run("representation", SECTIONS, options)


if __name__ == "__main__":
    main(tyro.cli(SpeedOptions, description=__doc__))
