"""The papers' numbers per benchmark, as data, and sizes for a laptop.

A preset is a complete configuration for one method on one dataset; every field can be changed
afterwards. Each paper has a preset with its own numbers for every method that it ran; "paper" is
that of the paper which the method comes from, and "cpu" holds sizes that two cores manage.
"""

from pbrl.training.offline_presets.facts import Facts, benchmark_of
from pbrl.training.offline_presets.select import PRESETS, OfflinePreset, make_fit_config

__all__ = ["PRESETS", "Facts", "OfflinePreset", "benchmark_of", "make_fit_config"]
