"""Draw which steps a learned reward pays: the same as `pbrl credit`."""

from pbrl.cli import run_verb

run_verb("credit")
