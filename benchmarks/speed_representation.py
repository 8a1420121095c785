"""Measure what TACO's update, Hindsight PRIOR and aligning two tasks cost.

    python benchmarks/speed_representation.py

TACO's update runs in turns with the same one in plain torch; for the others there is no official
program to compare with. The rest is as in `speed_online.py`.
"""

import tyro
from speed.program import SpeedOptions, run
from speed.representation import alignment, hindsight
from speed.taco import taco_updates

SECTIONS = {"alignment": alignment, "hindsight": hindsight, "taco": taco_updates}


def main(options: SpeedOptions) -> None:
    """Measure what updates cost, what a prior adds, and how long an alignment takes."""
    run("representation", SECTIONS, options)


if __name__ == "__main__":
    main(tyro.cli(SpeedOptions, description=__doc__))
