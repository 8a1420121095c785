"""Train online, from preferences or from true reward: the same as `pbrl train`."""

from pbrl.cli import run_verb

run_verb("train")
