"""Measure the parts of an online run against plain baselines, in turns within one process.

    python benchmarks/speed_online.py --threads 1

Every contender is timed once per round, round after round, so that a disturbance of the machine
meets all of them; the median over the rounds is reported. Prints one table and writes JSON.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import stable_baselines3
import torch
import tyro
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.logger import Logger

from pbrl.agents.sac import SAC, SACConfig
from pbrl.linear import linear
from pbrl.replay import ReplayBuffer

OBSERVATION_DIM, ACTION_DIM = 24, 6  # dmc/walker-walk
SIZES = (((256, 256), 256), ((256, 256, 256), 512), ((1024, 1024), 1024))
NUM_STORED = 10_000


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured contender.

    Attributes:
        section: what was measured.
        case: its size.
        contender: who.
        milliseconds: median time of one repetition.
        ratio: the baseline's time divided by this one's; 1 for the baseline.
        note: anything to say about it.
    """

    section: str
    case: str
    contender: str
    milliseconds: float
    ratio: float = 1.0
    note: str = ""


def time_in_turns(
    contenders: Mapping[str, Callable[[int], object]], rounds: int, seconds: float = 0.5
) -> dict[str, float]:
    """Return each contender's median seconds per repetition; it repeats as often as it is told."""
    repetitions = {}
    for name, run in contenders.items():
        run(2)
        start = time.perf_counter()
        run(2)
        repetitions[name] = max(1, round(2 * seconds / (time.perf_counter() - start)))
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            run(repetitions[name])
            times[name].append((time.perf_counter() - start) / repetitions[name])
    return {name: statistics.median(values) for name, values in times.items()}


def sac_updates(rounds: int) -> list[Row]:
    """Time an update with its batch drawn from the replay: ours against stable-baselines3's SAC.

    Beside them runs the machine's float32 product of the hidden layer's size, by `torch.mm` and by
    the one our layers use; the share of each rate that our update's floating-point operations
    reach is in the notes.
    """
    rows = []
    for hidden_sizes, batch_size in SIZES:
        width = hidden_sizes[0]
        times = time_in_turns(
            {
                "stable-baselines3": _baseline_sac(hidden_sizes, batch_size),
                "pbrl": _our_sac(hidden_sizes, batch_size),
                "torch.mm": _product(torch.mm, batch_size, width),
                "pbrl.linear": _product(linear, batch_size, width),
            },
            rounds,
        )
        rate = flops_per_update(hidden_sizes, batch_size) / times["pbrl"]
        product = 2 * batch_size * width**2
        shares = {name: rate * times[name] / product for name in ("torch.mm", "pbrl.linear")}
        note = f"{rate / 1e9:.0f} GFLOP/s: " + ", ".join(
            f"{share:.0%} of {name}" for name, share in shares.items()
        )
        case = f"{len(hidden_sizes)}x{width} batch {batch_size}"
        for name, seconds in times.items():
            is_update = name in ("stable-baselines3", "pbrl")
            row = Row(
                section="SAC update" if is_update else "float32 product",
                case=case,
                contender=name,
                milliseconds=1e3 * seconds,
                ratio=times["stable-baselines3" if is_update else "torch.mm"] / seconds,
            )
            speed = f"{product / seconds / 1e9:.0f} GFLOP/s"
            notes = {"pbrl": note, "stable-baselines3": ""}
            rows.append(replace(row, note=notes.get(name, speed)))
    return rows


def flops_per_update(hidden_sizes: tuple[int, ...], batch_size: int) -> int:
    """Count the floating-point operations of the matrix products in one update of SAC.

    Forward: actor twice, target critics, critics twice. Backward: weights of the critics and of
    the actor, inputs of every layer that a gradient passes through.
    """

    def multiplications(sizes: tuple[int, ...]) -> tuple[int, int]:
        each = [one * other for one, other in zip(sizes, sizes[1:], strict=False)]
        return sum(each), each[0]

    actor, actor_first = multiplications((OBSERVATION_DIM, *hidden_sizes, 2 * ACTION_DIM))
    critic, critic_first = multiplications((OBSERVATION_DIM + ACTION_DIM, *hidden_sizes, 1))
    forward = 2 * actor + 2 * critic + 2 * 2 * critic
    critic_backward = 2 * (critic + critic - critic_first)
    actor_backward = 2 * critic + actor + actor - actor_first
    return 2 * batch_size * (forward + critic_backward + actor_backward)


def _our_sac(hidden_sizes: tuple[int, ...], batch_size: int) -> Callable[[int], None]:
    generator = torch.Generator().manual_seed(0)
    config = SACConfig(hidden_sizes=hidden_sizes)
    agent = SAC(config, OBSERVATION_DIM, ACTION_DIM, generator=generator)
    replay = ReplayBuffer(NUM_STORED, OBSERVATION_DIM, ACTION_DIM, num_envs=100)
    never = torch.zeros(100, dtype=torch.bool)
    for _ in range(NUM_STORED // 100):
        observations = torch.randn(100, OBSERVATION_DIM, generator=generator)
        actions = 2 * torch.rand(100, ACTION_DIM, generator=generator) - 1
        rewards = torch.rand(100, generator=generator)
        replay.add(observations, actions, rewards, rewards, observations, never, never)

    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            agent.update(replay.sample(batch_size, generator))

    return run


def _baseline_sac(hidden_sizes: tuple[int, ...], batch_size: int) -> Callable[[int], None]:
    model = stable_baselines3.SAC(
        "MlpPolicy",
        _SpacesOnly(),
        learning_rate=5e-4,
        buffer_size=NUM_STORED,
        target_update_interval=2,
        policy_kwargs={"net_arch": list(hidden_sizes)},
        device="cpu",
        seed=0,
    )
    model.set_logger(Logger(None, []))
    random = np.random.default_rng(0)
    for _ in range(NUM_STORED):
        observation, following = random.normal(size=(2, 1, OBSERVATION_DIM)).astype(np.float32)
        action = random.uniform(-1, 1, (1, ACTION_DIM)).astype(np.float32)
        reward, done = random.uniform(size=1), np.zeros(1)
        model.replay_buffer.add(observation, following, action, reward, done, [{}])
    return lambda repetitions: model.train(repetitions, batch_size)


def _product(
    multiply: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], rows: int, width: int
) -> Callable[[int], None]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(rows, width, generator=generator)
    weight = torch.randn(width, width, generator=generator)

    def run(repetitions: int) -> None:
        with torch.no_grad():
            for _ in range(repetitions):
                multiply(inputs, weight)

    return run


class _SpacesOnly(gymnasium.Env[np.ndarray, np.ndarray]):
    """Spaces for a baseline that is never stepped."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION_DIM,))
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION_DIM,))


SECTIONS: Mapping[str, Callable[[int], list[Row]]] = {"sac": sac_updates}


def report(rows: list[Row], title: str) -> Table:
    """Return the rows as a table."""
    table = Table("section", "case", "contender", "ms", "ratio", "note", title=title)
    for row in rows:
        time_text, ratio_text = f"{row.milliseconds:.3f}", f"{row.ratio:.2f}"
        table.add_row(row.section, row.case, row.contender, time_text, ratio_text, row.note)
    return table


def main(
    *,
    threads: int = 1,
    rounds: int = 9,
    sections: tuple[str, ...] = tuple(SECTIONS),
    output: Path | None = None,
) -> None:
    """Run the sections, print the table and write the figures.

    Args:
        threads: torch threads.
        rounds: turns that every contender gets.
        sections: names in `SECTIONS`.
        output: JSON file; benchmarks/results/speed_online_THREADS.json when not given.
    """
    unknown = set(sections) - set(SECTIONS)
    if unknown:
        raise SystemExit(f"unknown sections {sorted(unknown)}; there are {sorted(SECTIONS)}")
    torch.set_num_threads(threads)
    rows = [row for name in sections for row in SECTIONS[name](rounds)]
    versions = {"torch": torch.__version__, "stable-baselines3": stable_baselines3.__version__}
    Console(width=140).print(report(rows, f"{threads} torch thread(s), median of {rounds} rounds"))
    record: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": threads,
        "rounds": rounds,
        "versions": versions,
        "rows": [vars(row) for row in rows],
    }
    path = output or Path(__file__).parent / "results" / f"speed_online_{threads}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    tyro.cli(main)
