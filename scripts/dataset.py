"""Describe a dataset: the same as `pbrl dataset`."""

from pbrl.cli import run_verb

run_verb("dataset")
