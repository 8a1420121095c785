"""`pbrl list agents`: the methods there are."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from pbrl.agent_names import OFFLINE, ONLINE

Kind = Literal["online", "offline", "all"]


@dataclass(frozen=True, kw_only=True)
class AgentsOptions:
    """List the agents and what each is.

    Attributes:
        kind: those of `pbrl train` (online) or of `pbrl fit` (offline).
    """

    kind: Annotated[Kind, tyro.conf.Positional] = "all"


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl list agents` with the words after it."""
    options = tyro.cli(AgentsOptions, args=list(arguments), prog="pbrl list agents")
    tables = {"online": ("train ENV", ONLINE), "offline": ("fit DATASET [LABELS]", OFFLINE)}
    chosen = [table for kind, table in tables.items() if options.kind in (kind, "all")]
    width = max(len(name) for _, table in chosen for name in table)
    parts = []
    for program, table in chosen:
        lines = [f"  {name.ljust(width)}  {what}" for name, what in table.items()]
        parts.append("\n".join([f"pbrl {program} --agent NAME", *lines]))
    sys.stdout.write("\n\n".join(parts) + "\n")
