"""The least time that an update can take on a machine: its operations and bytes over the peaks.

**Operations** are those of matrix products and convolutions, counted by torch while one update
runs; what is done element by element is not counted. **Bytes**: every number that the agent keeps
(parameters, targets, moments of the optimiser) is read and written once, the batch is read once,
and every tensor kept for a backward pass is written and read once. Gradients, and all else that
could stay in registers, are left out. **Peaks** are the fastest float32 product of 2,048 x 2,048
and the fastest copy or triad of arrays that no cache holds.

The bound is the larger of the two quotients, as if moving and multiplying overlapped. Activations
of small updates stay in the cache, so that for them the bytes are no strict bound.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from speed.measure import PRODUCTS, synchronize
from speed.replay import bytes_held, storages_held

SIDE = 2048  # of the product's matrices
NUM_FLOATS = 2**25  # of each array of the copy and the triad: 128 MiB
TRIES = 3
REPETITIONS = 20  # on a GPU, whose launches and waits would count where it is asked once


@dataclass(frozen=True)
class Peaks:
    """What the machine can do.

    Attributes:
        flops: floating-point operations per second of a float32 matrix product.
        bandwidth: bytes per second to and from memory.
    """

    flops: float
    bandwidth: float


@dataclass(frozen=True)
class Cost:
    """What one update takes.

    Attributes:
        flops: floating-point operations of its products.
        num_bytes: bytes that it has to move.
    """

    flops: int
    num_bytes: int

    def bound(self, peaks: Peaks) -> float:
        """Return the least seconds."""
        return max(self.flops / peaks.flops, self.num_bytes / peaks.bandwidth)

    def bound_by(self, peaks: Peaks) -> str:
        """Say which of the two sets the bound."""
        is_arithmetic = self.flops / peaks.flops >= self.num_bytes / peaks.bandwidth
        return "products" if is_arithmetic else "memory"


def measure_peaks(device: str, *, side: int = SIDE, num_floats: int = NUM_FLOATS) -> Peaks:
    """Return the best of a few tries, by processor time on a CPU and by the clock on a GPU."""
    generator = torch.Generator(device).manual_seed(0)
    one, other = torch.randn(2, side, side, generator=generator, device=device)
    source, more, target = torch.zeros(3, num_floats, device=device)
    size = 4 * num_floats
    with torch.no_grad():
        product = min(_best(lambda f=f: f(one, other), device) for f in PRODUCTS.values())
        copy = _best(lambda: target.copy_(source), device)
        triad = _best(lambda: torch.add(source, more, alpha=2.0, out=target), device)
    return Peaks(2 * side**3 / product, max(2 * size / copy, 3 * size / triad))


def _best(run: Callable[[], object], device: str) -> float:
    """Return the seconds of the fastest try after a warm-up."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    repetitions = 1 if device == "cpu" else REPETITIONS
    seconds = []
    for _ in range(TRIES + 1):
        started = clock()
        for _ in range(repetitions):
            run()
        synchronize(device)
        seconds.append((clock() - started) / repetitions)
    return min(seconds[1:])


def cost_of(
    update: Callable[[], object],
    state: Callable[[], object],
    batch: object = None,
    num_steps: int = 1,
) -> Cost:
    """Return what one update costs, by running it; once before, so that its moments are there.

    Args:
        update: runs one.
        state: returns what its agent keeps: tensors in dicts and lists.
        batch: what it learns from, likewise or as a type of pbrl.
        num_steps: steps of the optimiser in it: each reads and writes the state.
    """
    update()
    found = state()
    kept = _Kept([found, batch])
    with FlopCounterMode(display=False, custom_mapping=_FORMULAS) as counter, kept.hooks():
        update()
    num_bytes = 2 * num_steps * bytes_held(found) + bytes_held(batch) + 2 * kept.total()
    return Cost(counter.get_total_flops(), num_bytes)


class _Kept:
    """Counts what is kept for backward passes, each storage once in a pass."""

    def __init__(self, counted: object) -> None:
        self._known = storages_held(counted).keys()
        self._passes = 0
        self._storages: dict[int, int] = {}

    def hooks(self) -> saved_tensors_hooks:
        return saved_tensors_hooks(self._keep, self._use)

    def total(self) -> int:
        return self._passes + sum(self._storages.values())

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage().data_ptr()
        if storage not in self._known:
            size = tensor.numel() * tensor.element_size()
            self._storages[storage] = max(size, self._storages.get(storage, 0))
        return tensor

    def _use(self, tensor: Tensor) -> Tensor:
        """The backward pass begins; afterwards storages are used anew, for other tensors."""
        self._passes, self._storages = self.total(), {}
        return tensor


def _linear_flops(inputs: torch.Size, weight: torch.Size, *_: object, **__: object) -> int:
    """Count the operations of oneDNN's product, which torch's counter does not know."""
    return 2 * inputs.numel() * weight[0]


_onednn_linear = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_FORMULAS = {} if _onednn_linear is None else {_onednn_linear: _linear_flops}
