"""An agent's updates as they are, recorded once and played back, or compiled.

An update of networks as small as these is some hundred short operations, and a GPU waits for Python
to start each of them. A CUDA graph starts all of them at once.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from pbrl.agents.state import AgentOfParts
from pbrl.randomness import SeedGenerators

Updates = Literal["eager", "graph", "compiled"]
"""How updates are made."""

Metrics = dict[str, Tensor]
Play = Callable[[], None]

WARM_UPS = 3  # updates of a kind before it is recorded: optimisers make their state in the first
MOST_RECORDINGS = 16  # of one agent; batches of further shapes are learned from as they are


def check_updates(updates: str, device: torch.device | str) -> None:
    """Refuse a way to make updates that there is not, or not on the device.

    Raises:
        ValueError: naming both.
    """
    if updates not in get_args(Updates):
        raise ValueError(f"updates must be {', '.join(get_args(Updates))}, got {updates!r}")
    if updates == "graph" and torch.device(device).type != "cuda":
        raise ValueError(
            f"updates 'graph' needs a CUDA device, and device is {str(device)!r}: choose 'eager'"
        )


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


@runtime_checkable
class Recorder(Protocol):
    """Records what a function does to the memory of tensors."""

    def warm_up(self, run: Callable[[], Metrics]) -> Metrics:
        """Call a function that is recorded later."""
        ...

    def record(
        self, run: Callable[[], Metrics], generators: Sequence[torch.Generator]
    ) -> tuple[Play, Metrics]:
        """Record a function without doing it; return what does it, and where results will lie."""
        ...


class GraphRecorder:
    """Records CUDA graphs, on a stream of its own, where functions are warmed up too.

    So torch's documentation has it: what a backward pass keeps of an earlier stream would end the
    recording. Draws go on from wherever the generators are.
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()

    def warm_up(self, run: Callable[[], Metrics]) -> Metrics:
        """Call a function that is recorded later."""
        outside = torch.cuda.current_stream()
        self._stream.wait_stream(outside)
        with torch.cuda.stream(self._stream):
            metrics = run()
        outside.wait_stream(self._stream)
        return metrics

    def record(
        self, run: Callable[[], Metrics], generators: Sequence[torch.Generator]
    ) -> tuple[Play, Metrics]:
        """Record a graph; other threads, such as those of jax, may go on meanwhile."""
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            metrics = run()
        return graph.replay, metrics


class RecordedUpdate:
    """Updates of an agent, recorded by kind and by the shapes of their batch.

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
        self._update = agent.update
        agent.is_recorded = True
        self._recorder = recorder or GraphRecorder()
        self._recordings: dict[Hashable, _Recording] = {}
        self._num_warm: dict[Hashable, int] = {}
        self._seen: list[object] = []

    def __call__(self, batch: Any) -> Metrics:
        """Learn from a batch and return detached scalars under their names."""
        agent = self.agent
        agent.prepare_update()
        kind = agent.update_kind
        tensors = tensors_of(batch)
        key = (kind, tuple((part.shape, part.dtype) for part in tensors))
        self._forget_if_changed()
        if kind is None or not self._is_recorded(key, batch, tensors):
            return self._recorder.warm_up(lambda: self._update(batch))
        recording = self._recordings[key]
        torch._foreach_copy_(recording.inputs, tensors)
        recording.play()
        agent.num_updates += 1
        return recording.metrics

    def _is_recorded(self, key: Hashable, batch: Any, tensors: Sequence[Tensor]) -> bool:
        """Return whether there is a recording, after making it if it is time."""
        if key in self._recordings:
            return True
        self._num_warm[key] = self._num_warm.get(key, 0) + 1
        is_warm = self._num_warm[key] > WARM_UPS
        if not is_warm or len(self._recordings) == MOST_RECORDINGS:
            return False
        self._recordings[key] = self._recorded(batch, tensors)
        return True

    def _recorded(self, batch: Any, tensors: Sequence[Tensor]) -> "_Recording":
        agent = self.agent
        inputs = [part.clone() for part in tensors]
        held = with_tensors(batch, iter(inputs))
        before = agent.num_updates
        groups = [group for one in agent.optimizers() for group in one.param_groups]
        for group in groups:
            group["capturable"] = True
        try:
            play, metrics = self._recorder.record(lambda: self._update(held), _generators(agent))
        finally:
            for group in groups:
                group["capturable"] = False
        agent.num_updates = before
        return _Recording(inputs, play, metrics)

    def _forget_if_changed(self) -> None:
        """Forget recordings of optimisers, or of states of them, that are no longer the agent's."""
        now: list[object] = [part for one in self.agent.optimizers() for part in (one, one.state)]
        is_same = len(now) == len(self._seen)
        if not is_same or any(a is not b for a, b in zip(now, self._seen, strict=True)):
            self._recordings.clear()
            self._num_warm.clear()
            self._seen = now


class _Recording:
    def __init__(self, inputs: list[Tensor], play: Play, metrics: Metrics) -> None:
        self.inputs = inputs
        self.play = play
        self.metrics = metrics


def _generators(agent: AgentOfParts[Any]) -> Sequence[torch.Generator]:
    source: Any = agent.generator
    return list(source) if isinstance(source, SeedGenerators) else [source]


def tensors_of(batch: Any) -> list[Tensor]:
    """Return the tensors of nested dataclasses, in the order of their fields."""
    if isinstance(batch, Tensor):
        return [batch]
    if not is_dataclass(batch):
        return []
    return [part for one in fields(batch) for part in tensors_of(getattr(batch, one.name))]


def with_tensors(batch: Any, tensors: Any) -> Any:
    """Return nested dataclasses with other tensors, taken one after the other."""
    if isinstance(batch, Tensor):
        return next(tensors)
    if not is_dataclass(batch) or isinstance(batch, type):
        return batch
    names = [one.name for one in fields(batch)]
    return type(batch)(**{name: with_tensors(getattr(batch, name), tensors) for name in names})
