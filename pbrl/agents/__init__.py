"""Agents by name; each is imported when it is first asked for."""

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

from pbrl.agents.protocol import Agent

AGENTS: Mapping[str, str] = {
    "sac": "pbrl.agents.sac:SAC",
}

__all__ = ["AGENTS", "Agent", "agent_class"]


def agent_class(name: str) -> type[Any]:
    """Return the class registered under `name` in `AGENTS`.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    if name not in AGENTS:
        near = difflib.get_close_matches(name, AGENTS) or sorted(AGENTS)
        raise ValueError(f'no agent is called "{name}"; did you mean {", ".join(near)}?')
    module, _, attribute = AGENTS[name].partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found
