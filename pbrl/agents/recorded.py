"""An agent's updates as they are, recorded once and played back, or compiled."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pbrl.agents.state import AgentOfParts
from pbrl.graphs import Recorder, Recordings, Updates, check_updates

__all__ = ["RecordedUpdate", "Updates", "check_recordable", "check_updates", "make_update"]

Metrics = dict[str, Tensor]


def check_recordable(agent: Any) -> None:
    """Refuse an agent whose updates cannot be recorded.

    Raises:
        ValueError: naming it.
    """
    if not getattr(agent, "is_recordable", False):
        raise ValueError(
            f"updates of {type(agent).__name__} cannot be recorded: choose 'eager' or 'compiled' "
            "for updates"
        )


def make_update(agent: Any, updates: Updates) -> Callable[[Any], Metrics]:
    """Return an agent's `update`, made in one of the ways; all come to the same numbers.

    Args:
        agent: keeps its parameters, as if it were updated by itself.
        updates: "eager" calls it, "graph" plays back CUDA graphs, "compiled" goes through
            torch.compile.

    Raises:
        ValueError: if the agent's updates cannot be recorded, or there is no such way.
    """
    if updates == "eager":
        return _eager(agent)
    check_updates(updates, agent.device)
    if updates == "compiled":
        compiled: Callable[[Any], Metrics] = torch.compile(agent.update)
        return compiled
    return RecordedUpdate(agent)


def _eager(agent: Any) -> Callable[[Any], Metrics]:
    def update(batch: Any) -> Metrics:
        metrics: Metrics = agent.update(batch)
        return metrics

    return update


class RecordedUpdate:
    """Updates of an agent, recorded by kind and by the shapes of their batch; see `Recordings`.

    The first updates of each kind are made as they are. Metrics are overwritten by the next update.
    When the agent is loaded, or makes an optimiser anew, its recordings are forgotten.

    Args:
        agent: says by `update_kind` what can be recorded; in its updates nothing but tensors,
            generators, `num_updates` and what `prepare_update` sees to may change.
        recorder: by default of CUDA graphs.

    Raises:
        ValueError: if the agent's updates cannot be recorded.
    """

    def __init__(self, agent: AgentOfParts[Any], recorder: Recorder | None = None) -> None:
        check_recordable(agent)
        self.agent = agent
        agent.is_recorded = True
        self._recordings = Recordings(
            agent.update,
            optimizers=agent.optimizers,
            generator=agent.generator,
            recorder=recorder,
        )

    def __call__(self, batch: Any) -> Metrics:
        """Learn from a batch and return detached scalars under their names."""
        agent = self.agent
        agent.prepare_update()
        done = agent.num_updates
        metrics = self._recordings(batch, agent.update_kind)
        agent.num_updates = done + 1  # which a recording does not count
        return metrics
