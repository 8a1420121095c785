"""What every section shares: rows, timing in turns, the matmul rate and stored episodes."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pbrl.linear import linear
from pbrl.replay import ReplayBuffer

OBSERVATION_DIM, ACTION_DIM = 24, 6  # dmc/walker-walk
WARMING_CALLS = 12  # until changing numbers are symbols, and updates of every kind are recorded
PRODUCTS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "torch.mm": torch.mm,
    "pbrl.linear": linear,
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured contender.

    Attributes:
        section: what was measured.
        case: its size.
        contender: who.
        milliseconds: median elapsed time of one repetition, None where no time was taken.
        cpu_milliseconds: median processor time of it, all threads together.
        ratio: the baseline's processor time divided by this one's, None without a baseline.
        note: anything to say about it.
        aim: what is asked of it, empty for nothing.
        is_met: whether it does so.
    """

    section: str
    case: str
    contender: str
    milliseconds: float | None = None
    cpu_milliseconds: float | None = None
    ratio: float | None = None
    note: str = ""
    aim: str = ""
    is_met: bool | None = None


class Times(NamedTuple):
    """Median seconds per repetition.

    Attributes:
        wall: elapsed.
        cpu: of the processor, all threads together; another program's share is not in it.
    """

    wall: float
    cpu: float

    def columns(self) -> dict[str, float]:
        """Return the fields of a `Row`."""
        return {"milliseconds": 1e3 * self.wall, "cpu_milliseconds": 1e3 * self.cpu}


def time_in_turns(
    contenders: Mapping[str, Callable[[int], object]],
    rounds: int,
    seconds: float = 0.2,
    most: int | None = None,
) -> dict[str, Times]:
    """Return each contender's median times; one repeats as often as it is told.

    Every contender is run once to warm up, and once more to learn how often it fits into `seconds`,
    unless it took longer than that already. In a turn it repeats `most` times at most.
    """
    repetitions = {}
    for name, run in contenders.items():
        wall, _ = timed(run, 1)
        if wall < seconds:
            wall, _ = timed(run, 1)
        fitting = max(1, round(seconds / wall))
        repetitions[name] = fitting if most is None else min(most, fitting)
    times: dict[str, list[Times]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            times[name].append(timed(run, repetitions[name]))
    return {
        name: Times(*map(statistics.median, zip(*values, strict=True)))
        for name, values in times.items()
    }


def timed(run: Callable[[int], object], repetitions: int) -> Times:
    """Return seconds per repetition of one run, without a warm-up."""
    wall, cpu = time.perf_counter(), time.process_time()
    run(repetitions)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Times(wall / repetitions, cpu / repetitions)


def synchronize(device: str) -> None:
    """Wait for what a GPU still has to do; a CPU has done it."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def repeated(step: Callable[[], object]) -> Callable[[int], None]:
    """Return a contender that takes a step as often as it is told."""

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            step()

    return run


def warmed(step: Callable[[], object]) -> Callable[[], object]:
    """Return a step after so many calls that it is compiled, or recorded, for all that follow."""
    for _ in range(WARMING_CALLS):
        step()
    return step


def moved(value: Any, device: str) -> Any:
    """Return a batch with its tensors on a device: a tensor, or a dataclass of such."""
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{name: moved(part, device) for name, part in vars(value).items()})
    return value


def products(num_rows: int, width: int) -> dict[str, Callable[[int], None]]:
    """Return the float32 products of `num_rows` rows by a square weight, as contenders."""
    return {name: _product(name, num_rows, width) for name in PRODUCTS}


def _product(name: str, num_rows: int, width: int) -> Callable[[int], None]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(num_rows, width, generator=generator)
    weight = torch.randn(width, width, generator=generator)

    def run(repetitions: int) -> None:
        with torch.no_grad():
            for _ in range(repetitions):
                PRODUCTS[name](inputs, weight)

    return run


def rates(times: Mapping[str, Times], num_rows: int, width: int) -> dict[str, float]:
    """Return floating-point operations per second of processor time of the products."""
    return {name: 2 * num_rows * width**2 / times[name].cpu for name in PRODUCTS}


def shares(rate: float, reference: Mapping[str, float]) -> str:
    """Say which share of each matmul rate a rate is."""
    parts = [f"{rate / other:.0%} of {name}" for name, other in reference.items()]
    return f"{rate / 1e9:.0f} GFLOP/s: {', '.join(parts)}"


def product_rows(
    section: str, case: str, times: Mapping[str, Times], reference: Mapping[str, float]
) -> list[Row]:
    """Return the rows of the products themselves."""
    return [
        Row(
            section=section,
            case=case,
            contender=name,
            **times[name].columns(),
            ratio=times["torch.mm"].cpu / times[name].cpu,
            note=f"{rate / 1e9:.0f} GFLOP/s",
        )
        for name, rate in reference.items()
    ]


def reward_flops(hidden_sizes: tuple[int, ...], *, is_training: bool) -> int:
    """Count the operations that one step costs in the products of one reward network.

    Training adds the gradients of the weights, and of the inputs of every layer but the first.
    """
    sizes = (OBSERVATION_DIM + ACTION_DIM, *hidden_sizes, 1)
    layers = [one * other for one, other in zip(sizes, sizes[1:], strict=False)]
    return 2 * (3 * sum(layers) - layers[0] if is_training else sum(layers))


def stored_episodes(num_episodes: int, length: int = 1000, device: str = "cpu") -> ReplayBuffer:
    """Return a replay of random episodes whose observations move slowly, as a robot's do."""
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(num_episodes, length, OBSERVATION_DIM, generator=generator)
    for step in range(1, length):
        observations[:, step].mul_(0.3).add_(observations[:, step - 1], alpha=0.95)
    num_steps = num_episodes * length
    return ReplayBuffer.from_episodes(
        observations=observations.flatten(0, 1),
        actions=2 * torch.rand(num_steps, ACTION_DIM, generator=generator) - 1,
        true_rewards=torch.rand(num_steps, generator=generator),
        last_observations=observations[:, -1],
        lengths=torch.full((num_episodes,), length),
        terminated=torch.zeros(num_episodes, dtype=torch.bool),
        device=device,
    )
