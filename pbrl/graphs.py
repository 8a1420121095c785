"""Functions of tensors, recorded once and played back.

An update of networks as small as these is some hundred short operations, and a GPU waits for Python
to start each of them. A CUDA graph starts all of them at once.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from pbrl.randomness import RandomSource, SeedGenerators

Updates = Literal["eager", "graph", "compiled"]
"""How updates are made."""

Results = dict[str, Tensor]
Play = Callable[[], None]

WARM_UPS = 3  # calls of a kind before it is recorded: optimisers make their state in the first
MOST_RECORDINGS = 16  # of one function; further shapes are computed as they are


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


@runtime_checkable
class Recorder(Protocol):
    """Records what a function does to the memory of tensors."""

    def warm_up(self, run: Callable[[], Results]) -> Results:
        """Call a function that is recorded later."""
        ...

    def record(
        self, run: Callable[[], Results], generators: Sequence[torch.Generator]
    ) -> tuple[Play, Results]:
        """Record a function without doing it; return what does it, and where results will lie."""
        ...


class GraphRecorder:
    """Records CUDA graphs, on a stream of its own, where functions are warmed up too.

    So torch's documentation has it: what a backward pass keeps of an earlier stream would end the
    recording. Draws go on from wherever the generators are.

    Args:
        device: that the functions compute on. It need not be the current one, whose streams would
            record none of their work.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def warm_up(self, run: Callable[[], Results]) -> Results:
        """Call a function that is recorded later."""
        outside = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(outside)
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            results = run()
        outside.wait_stream(self._stream)
        return results

    def record(
        self, run: Callable[[], Results], generators: Sequence[torch.Generator]
    ) -> tuple[Play, Results]:
        """Record a graph; other threads, such as those of jax, may go on meanwhile."""
        with torch.cuda.device(self._device):
            graph = torch.cuda.CUDAGraph()
            for generator in generators:
                graph.register_generator_state(generator)
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                results = run()

        def play() -> None:
            with torch.cuda.device(self._device):
                graph.replay()

        return play, results


class Recordings:
    """A function of a batch, recorded by kind and by the shapes of what it is given.

    The first calls of each kind are made as they are. Results are overwritten by the next call.
    Recordings are forgotten when an optimiser, or the state of one, is no longer the same.

    Args:
        run: takes nested dataclasses of tensors. Calls of one kind may change, and differ in,
            nothing but tensors and generators.
        optimizers: returns those that take steps in it.
        generator: what it draws from.
        recorder: by default of CUDA graphs, on the generator's device.
    """

    def __init__(
        self,
        run: Callable[[Any], Results],
        *,
        optimizers: Callable[[], Sequence[torch.optim.Optimizer]],
        generator: RandomSource,
        recorder: Recorder | None = None,
    ) -> None:
        self._run = run
        self._optimizers = optimizers
        self._generators: Sequence[torch.Generator] = (
            generator if isinstance(generator, SeedGenerators) else (generator,)
        )
        self._recorder = recorder or GraphRecorder(self._generators[0].device)
        self._recordings: dict[Hashable, _Recording] = {}
        self._num_warm: dict[Hashable, int] = {}
        self._seen: list[object] = []

    def __len__(self) -> int:
        return len(self._recordings)

    def __call__(self, batch: Any, kind: Hashable | None = ()) -> Results:
        """Return what the function comes to.

        Args:
            batch: what it is given.
            kind: tells calls from others whose operations differ; None for one that must be made
                as it is.
        """
        tensors = tensors_of(batch)
        key = (kind, tuple((part.shape, part.dtype) for part in tensors))
        self._forget_if_changed()
        if kind is None or not self._is_recorded(key, batch, tensors):
            return self._recorder.warm_up(lambda: self._run(batch))
        recording = self._recordings[key]
        torch._foreach_copy_(recording.inputs, tensors)
        recording.play()
        return recording.results

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
        inputs = [part.clone() for part in tensors]
        held = with_tensors(batch, iter(inputs))
        groups = [group for one in self._optimizers() for group in one.param_groups]
        for group in groups:
            group["capturable"] = True
        try:
            play, results = self._recorder.record(lambda: self._run(held), self._generators)
        finally:
            for group in groups:
                group["capturable"] = False
        return _Recording(inputs, play, results)

    def _forget_if_changed(self) -> None:
        now: list[object] = [part for one in self._optimizers() for part in (one, one.state)]
        is_same = len(now) == len(self._seen)
        if not is_same or any(a is not b for a, b in zip(now, self._seen, strict=True)):
            self._recordings.clear()
            self._num_warm.clear()
            self._seen = now


class _Recording:
    def __init__(self, inputs: list[Tensor], play: Play, results: Results) -> None:
        self.inputs = inputs
        self.play = play
        self.results = results


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
