"""Import, export and judge labels in files: the same as `pbrl label`."""

from pbrl.cli import run_verb

run_verb("label")
