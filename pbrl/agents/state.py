"""State of agents that are made of named networks and optimisers."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

Parts = Mapping[str, nn.Module | torch.optim.Optimizer | None]
"""By name; None where a configuration has no such part."""


def state_of_parts(parts: Parts, num_updates: int) -> dict[str, Any]:
    """Return the state of every part, and the number of updates."""
    states = {name: part.state_dict() for name, part in parts.items() if part is not None}
    return states | {"num_updates": num_updates}


def load_parts(parts: Parts, state: Mapping[str, Any]) -> int:
    """Restore what `state_of_parts` returned, and return the number of updates."""
    for name, part in parts.items():
        if part is not None:
            # torch keeps the tensors of a loaded optimiser and would write into the giver's.
            part.load_state_dict(copy.deepcopy(state[name]))
    return int(state["num_updates"])
