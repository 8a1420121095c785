"""Learn offline, from a dataset and labels: the same as `pbrl fit`."""

from pbrl.cli import run_verb

run_verb("fit")
