"""Draw learning curves of runs or records: the same as `pbrl plot`."""

from pbrl.cli import run_verb

run_verb("plot")
