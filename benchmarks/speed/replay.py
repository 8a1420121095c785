"""The replay buffer: memory of a million transitions, and what adding and sampling cost."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.buffers import ReplayBuffer as BaselineBuffer

from pbrl.replay import ReplayBuffer
from speed.measure import (
    ACTION_DIM,
    OBSERVATION_DIM,
    Row,
    repeated,
    stored_episodes,
    time_in_turns,
)

NUM_STEPS, BATCH_SIZE, MOST_MEMORY = 1_000_000, 256, 1.3
FLOAT = 4  # bytes


def replay_costs(rounds: int) -> list[Row]:
    """Measure a full buffer of a million transitions, ours and stable-baselines3's."""
    ours = stored_episodes(NUM_STEPS // 1000)
    spaces = [Box(-1, 1, (size,), np.float32) for size in (OBSERVATION_DIM, ACTION_DIM)]
    baseline = BaselineBuffer(NUM_STEPS, *spaces, device="cpu")
    for name in ("observations", "next_observations", "actions", "rewards", "dones"):
        getattr(baseline, name)[:] = 0.5  # touches the pages
    baseline.full = True
    return [*_memory(ours, baseline), *_times(ours, baseline, rounds)]


def _memory(ours: ReplayBuffer, baseline: BaselineBuffer) -> list[Row]:
    raw = NUM_STEPS * FLOAT * (OBSERVATION_DIM + ACTION_DIM + 1)
    theirs = sum(array.nbytes for array in vars(baseline).values() if isinstance(array, np.ndarray))
    used = {"raw float32 arrays": raw, "stable-baselines3": theirs, "pbrl": bytes_held(ours)}
    rows = []
    for name, size in used.items():
        aim: dict[str, Any] = {}
        if name == "pbrl":
            is_met = size <= MOST_MEMORY * raw
            aim = {"aim": f"within {MOST_MEMORY}x raw", "is_met": is_met}
        note = f"{size / 2**20:.0f} MiB, {size / raw:.2f}x raw"
        case = f"{NUM_STEPS:,} transitions"
        rows.append(Row(section="replay memory", case=case, contender=name, note=note, **aim))
    return rows


def bytes_held(holder: object) -> int:
    """Return the memory of every tensor storage reachable from an object, each counted once."""
    return sum(storages_held(holder).values())


def storages_held(holder: object) -> dict[int, int]:
    """Return the bytes of every tensor storage reachable from an object, by its address."""
    storages: dict[int, int] = {}
    waiting, seen = [holder], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, list | tuple):
            waiting.extend(item)
        elif type(item).__module__.startswith("pbrl."):
            waiting.extend(vars(item).values())
    return storages


def _times(ours: ReplayBuffer, baseline: BaselineBuffer, rounds: int) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    observation, action = torch.zeros(1, OBSERVATION_DIM), torch.zeros(1, ACTION_DIM)
    reward, never = torch.zeros(1), torch.zeros(1, dtype=torch.bool)
    row = (observation, action, reward, reward, observation, never, never)
    state, move, zeros = observation.numpy(), action.numpy(), np.zeros(1)
    cases: dict[str, dict[str, Callable[[], object]]] = {
        "add one step": {
            "stable-baselines3": lambda: baseline.add(state, state, move, zeros, zeros, [{}]),
            "pbrl": lambda: ours.add(*row),
        },
        f"sample {BATCH_SIZE}": {
            "stable-baselines3": lambda: baseline.sample(BATCH_SIZE),
            "pbrl": lambda: ours.sample(BATCH_SIZE, generator),
        },
    }
    rows = []
    for case, calls in cases.items():
        times = time_in_turns({name: repeated(call) for name, call in calls.items()}, rounds)
        for name, value in times.items():
            ratio = times["stable-baselines3"].cpu / value.cpu
            columns = value.columns() | {"ratio": ratio}
            rows.append(Row(section="replay", case=case, contender=name, **columns))
    return rows
