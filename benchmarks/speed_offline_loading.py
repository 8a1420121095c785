"""Measure what it takes to load a million rows of a dataset and to draw pairs of segments.

    python benchmarks/speed_offline_loading.py

Writes the same random episodes in every format into a temporary folder and loads them; memory is
that of a process of its own, at its peak, beyond what it held before. Times and aims as in
`speed_online.py`.
"""

from collections.abc import Mapping

import tyro
from speed.loading import loading
from speed.program import Section, SpeedOptions, run

SECTIONS: Mapping[str, Section] = {"loading": loading}


def main(options: SpeedOptions) -> None:
    """Measure loading and drawing."""
    run("offline-loading", SECTIONS, options)


if __name__ == "__main__":
    main(tyro.cli(SpeedOptions, description=__doc__))
