"""Make a dataset from policies: the same as `pbrl collect`."""

from pbrl.cli import run_verb

run_verb("collect")
