"""Roll out the policy of a run: the same as `pbrl evaluate`."""

from pbrl.cli import run_verb

run_verb("evaluate")
