"""Run a benchmark suite piece by piece: the same as `pbrl benchmark`."""

from pbrl.cli import run_verb

run_verb("benchmark")
