"""Offline datasets: time and memory to load a million rows, and what drawing pairs costs."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch

from pbrl.offline import OfflineDataset, load_dataset
from speed.measure import Row, time_in_turns

NUM_STEPS, EPISODE_LENGTH, OBSERVATION_DIM, ACTION_DIM = 1_000_000, 1000, 11, 3  # Hopper
NUM_PAIRS, SEGMENT_LENGTH, BATCH_PAIRS = 20_000, 64, 96
MOST_SECONDS, MOST_MEMORY = 5.0, 2.5
FLOAT, INTEGER, MIB = 4, 8, 2**20  # bytes
RAW_BYTES = NUM_STEPS * FLOAT * (OBSERVATION_DIM + ACTION_DIM + 1)
SPACE = '{{"type": "Box", "dtype": "float32", "shape": [{0}], "low": {1}, "high": {2}}}'

# Runs in a process of its own, so that nothing else is in its memory.
PEAK = """
import re, sys
from pathlib import Path
import h5py, torch
from pbrl.offline import load_dataset

def memory(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

torch.set_num_threads(1)
torch.zeros(10).aminmax()
before = memory("VmRSS")
dataset = load_dataset(sys.argv[1])
print(memory("VmHWM") - before)
"""


def loading(rounds: int) -> list[Row]:
    """Measure loading a million rows from every format, and drawing pairs from them."""
    with tempfile.TemporaryDirectory() as folder:
        sources = write_sources(Path(folder), NUM_STEPS)
        rows = [row for case, path in sources.items() for row in _load(case, path, rounds)]
        return rows + _pairs(load_dataset(sources["D4RL"]), rounds)


def write_sources(folder: Path, num_steps: int) -> dict[str, Path]:
    """Write the same random episodes in every format; return what to load by format."""
    arrays = random_arrays(num_steps)
    paths = {
        "D4RL": folder / "plain" / "hopper_medium-v2.hdf5",
        "D4RL, compressed": folder / "gzip" / "hopper_medium-v2.hdf5",
        "D4RL, no next_observations": folder / "short" / "hopper_medium-v2.hdf5",
        "Minari": folder / "minari",
        "NPZ": folder / "mine.npz",
    }
    for case, compression in (("D4RL", None), ("D4RL, compressed", "gzip")):
        paths[case].parent.mkdir()
        with h5py.File(paths[case], "w") as file:
            for name, array in arrays.items():
                file.create_dataset(name, data=array, compression=compression)
    paths["D4RL, no next_observations"].parent.mkdir()
    with h5py.File(paths["D4RL, no next_observations"], "w") as file:
        for name in set(arrays) - {"next_observations"}:
            file.create_dataset(name, data=arrays[name])
    _write_minari(paths["Minari"], arrays)
    num_episodes = num_steps // EPISODE_LENGTH
    np.savez(
        paths["NPZ"],
        **{name: arrays[name] for name in ("observations", "actions", "rewards")},
        lengths=np.full(num_episodes, EPISODE_LENGTH),
        last_observations=arrays["next_observations"][EPISODE_LENGTH - 1 :: EPISODE_LENGTH],
    )
    return paths


def random_arrays(num_steps: int) -> dict[str, np.ndarray]:
    """Return the arrays of a D4RL file with episodes that all reach the time limit."""
    rng = np.random.default_rng(0)
    moves = rng.standard_normal((num_steps + 1, OBSERVATION_DIM)).astype(np.float32)
    observations = np.cumsum(0.01 * moves, 0, dtype=np.float32)
    timeouts = np.zeros(num_steps, bool)
    timeouts[EPISODE_LENGTH - 1 :: EPISODE_LENGTH] = True
    return {
        "observations": observations[:-1],
        "next_observations": observations[1:],
        "actions": rng.uniform(-1, 1, (num_steps, ACTION_DIM)).astype(np.float32),
        "rewards": rng.random(num_steps, np.float32),
        "terminals": np.zeros(num_steps, bool),
        "timeouts": timeouts,
    }


def _write_minari(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    (folder / "data").mkdir(parents=True)
    num_episodes = len(arrays["rewards"]) // EPISODE_LENGTH
    with h5py.File(folder / "data" / "main_data.hdf5", "w") as file:
        for number in range(num_episodes):
            steps = slice(number * EPISODE_LENGTH, (number + 1) * EPISODE_LENGTH)
            group = file.create_group(f"episode_{number}")
            last = arrays["next_observations"][steps.stop - 1 : steps.stop]
            group["observations"] = np.concatenate([arrays["observations"][steps], last])
            for ours, theirs in (("terminals", "terminations"), ("timeouts", "truncations")):
                group[theirs] = arrays[ours][steps]
            for name in ("actions", "rewards"):
                group[name] = arrays[name][steps]
    spaces = [
        SPACE.format(size, [low] * size, [-low] * size).replace("inf", "Infinity")
        for size, low in ((OBSERVATION_DIM, -np.inf), (ACTION_DIM, -1.0))
    ]
    quoted = [space.replace('"', '\\"') for space in spaces]
    (folder / "data" / "metadata.json").write_text(
        f'{{"data_format": "hdf5", "total_episodes": {num_episodes}, '
        f'"observation_space": "{quoted[0]}", "action_space": "{quoted[1]}"}}'
    )


def peak_memory(path: Path) -> int:
    """Return the bytes that loading takes at its peak, the dataset itself included."""
    command = [sys.executable, "-c", PEAK, str(path)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _load(case: str, path: Path, rounds: int) -> list[Row]:
    calls: dict[str, Callable[[], object]] = {"pbrl": lambda: load_dataset(path)}
    if path.suffix == ".hdf5":
        calls = {"h5py, arrays alone": lambda: _arrays_alone(path), **calls}
    times = time_in_turns({name: _repeated(call) for name, call in calls.items()}, rounds)
    rows = [
        Row(section="loading time", case=case, contender=name, **times[name].columns())
        for name in calls
        if name != "pbrl"
    ]
    value = times["pbrl"]
    rows.append(
        Row(
            section="loading time",
            case=case,
            contender="pbrl",
            **value.columns(),
            ratio=times[rows[0].contender].cpu / value.cpu if rows else None,
            aim=f"within {MOST_SECONDS:g} s of CPU",
            is_met=value.cpu <= MOST_SECONDS,
        )
    )
    peak = peak_memory(path)
    rows.append(
        Row(
            section="loading memory",
            case=case,
            contender="pbrl",
            note=f"{peak / MIB:.0f} MiB at the peak, {peak / RAW_BYTES:.2f}x raw",
            aim=f"within {MOST_MEMORY}x raw",
            is_met=peak <= MOST_MEMORY * RAW_BYTES,
        )
    )
    return rows


def _arrays_alone(path: Path) -> list[np.ndarray]:
    with h5py.File(path, "r") as file:
        return [file[name][()] for name in file]


def _pairs(dataset: OfflineDataset, rounds: int) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    replay = dataset.replay

    def draw() -> object:
        return replay.sample_segments(2 * NUM_PAIRS, SEGMENT_LENGTH, generator).reshape(-1, 2)

    index = replay.sample_segments(2 * BATCH_PAIRS, SEGMENT_LENGTH, generator).reshape(-1, 2)
    calls: dict[str, Callable[[], object]] = {
        f"draw {NUM_PAIRS:,} pairs of {SEGMENT_LENGTH}": draw,
        f"read {BATCH_PAIRS} of them": lambda: replay.gather(index),
    }
    times = time_in_turns({name: _repeated(call) for name, call in calls.items()}, rounds)
    windows = 2 * NUM_PAIRS * SEGMENT_LENGTH * FLOAT * (OBSERVATION_DIM + ACTION_DIM)
    indices = 2 * NUM_PAIRS * 3 * INTEGER
    notes = [f"{indices / MIB:.1f} MiB of indices, not {windows / MIB:.0f} of windows", ""]
    return [
        Row(section="pairs", case=case, contender="pbrl", note=note, **times[case].columns())
        for case, note in zip(calls, notes, strict=True)
    ]


def _repeated(call: Callable[[], object]) -> Callable[[int], None]:
    def run(repetitions: int) -> None:
        for _ in range(repetitions):
            call()

    return run
