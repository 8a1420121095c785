"""List agents, tasks and suites: the same as `pbrl list`."""

from pbrl.cli import run_verb

run_verb("list")
