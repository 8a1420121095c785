"""Measure the parts of an online run against plain baselines, in turns within one process.

    python benchmarks/speed_online.py --threads 1

Every contender is timed once per round, round after round, so that a disturbance of the machine
meets all of them; the median over the rounds is reported. Ratios and aims go by processor time,
which another program's share is not part of. Prints one table, writes JSON, and puts the table
made from that JSON into a page.
"""

from collections.abc import Mapping

import tyro
from speed.environments import environment_steps
from speed.physics import batched_physics
from speed.precision import bfloat16
from speed.program import Section, SpeedOptions, run
from speed.replay import replay_costs
from speed.reward import ensemble_training, relabelling
from speed.sac import sac_updates
from speed.samplers import samplers

SECTIONS: Mapping[str, Section] = {
    "sac": sac_updates,
    "ensemble": ensemble_training,
    "relabelling": relabelling,
    "samplers": samplers,
    "environments": environment_steps,
    "physics": batched_physics,
    "replay": replay_costs,
    "bfloat16": bfloat16,
}


def main(options: SpeedOptions) -> None:
    """Measure the parts of an online run."""
    run("online", SECTIONS, options)


if __name__ == "__main__":
    main(tyro.cli(SpeedOptions, description=__doc__))
