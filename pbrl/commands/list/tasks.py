"""`pbrl list tasks`: the environments there are."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class TasksOptions:
    """List the ids of environments, one a line, as the installed simulators name them.

    Every other id registered with Gymnasium works too, as gym/ID. With -cpl after its name a task
    of Meta-World follows the protocol of CPL.

    Attributes:
        source: only those of this simulator, whose package alone is then asked.
    """

    source: Annotated[Literal["gym", "dmc", "metaworld", "mjx"] | None, tyro.conf.Positional] = None


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl list tasks` with the words after it."""
    options = tyro.cli(TasksOptions, args=list(arguments), prog="pbrl list tasks")
    from pbrl.envs import list_ids  # simulators are for those who need them: --help does not

    sys.stdout.write("\n".join(list_ids(options.source)) + "\n")
