"""Train on a small task with a teacher in the same process, and with one who answers over HTTP.

    python benchmarks/live_labelling.py --seeds 0 1 2 3 4

Both teachers prefer the segment with the higher true return. The one in the process answers at
once. The other is a program beside a labelling server: it holds three queries at a time, takes them
in any order, thinks for a random time, and computes the return from the numbers that the interface
shows, so that labels come late and out of order while the run goes on. Prints the scores of both,
with bootstrap intervals of their means and of the difference, and writes a record.
"""

import json
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from labelling.annotators import Annotators
from labelling.programs import start_program
from labelling.served_study import ServedStudy, write_record

from pbrl.queries.human import StudyConfig
from pbrl.queries.human.client import LabellingClient, Task

MAX_ACTION = 2.0  # of Pendulum, whose actions come scaled to [-1, 1]
NUM_RESAMPLES = 10_000
RUN = [
    "gym/Pendulum-v1", "--agent", "pebble", "--seed-steps", "500", "--batch-size", "128",
    "--sac.hidden-sizes", "64", "64", "--eval-every", "1000", "--checkpoint-every", "5000",
    "--preferences.schedule.budget", "80", "--preferences.schedule.session-size", "10",
    "--preferences.schedule.first-step", "1000", "--preferences.schedule.interval", "500",
    "--preferences.learning.steps-per-label", "100", "--preferences.reward.hidden-sizes", "64",
    "64", "--preferences.sampler.segment-length", "25",
]  # fmt: skip


def main(
    *,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    steps: int = 12_000,
    think: float = 8.0,
    at_once: int = 10,
    output: Path | None = None,
) -> None:
    """Train, compare, and write the record.

    Args:
        seeds: of the runs; each is run with both teachers.
        steps: of a run.
        think: longest seconds that the program takes for a query.
        at_once: runs that go on side by side, each with one thread.
        output: JSON file; benchmarks/results/labelling/live.json when not given.
    """
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(at_once) as pool:
        words = [[*RUN, "--seed", str(seed), "--steps", str(steps)] for seed in seeds]
        folders = [Path(name) / str(seed) for seed in seeds]
        later = pool.map(train_over_http, words, folders, [think] * len(seeds))
        now = pool.map(train, words, [folder / "at-once" for folder in folders])
        runs = {"in_process": list(now), "over_http": list(later)}
    record = {"env": "gym/Pendulum-v1", "agent": "pebble", "steps": steps, "seeds": list(seeds)}
    record |= {"think_seconds": think, "seconds": round(time.monotonic() - started)}
    write_record("live", output, record | compare(runs) | {"runs": runs})


def train(words: list[str], out: Path) -> dict[str, Any]:
    """Train to the end and return what the result says."""
    started = time.monotonic()
    program = start_program("train", *words, "--out", str(out))
    program.join()
    if program.exitcode != 0:
        raise RuntimeError(f"the run ended with {program.exitcode}")
    result = json.loads((out / "result.json").read_text())
    names = ("score", "random_score", "labels_asked", "labels_given", "curve")
    return {name: result[name] for name in names} | {
        "seconds": round(time.monotonic() - started, 1)
    }


def train_over_http(words: list[str], folder: Path, think: float) -> dict[str, Any]:
    """Train while a program answers over HTTP."""
    config = StudyConfig(env="gym/Pendulum-v1", gold_every=0, repeat_every=0)
    served = ServedStudy(folder / "studies", ["oracle"], config)
    served.start()
    words = [*words, "--teacher", "human", "--study", "bench"]
    words += ["--studies", str(served.place.studies)]
    program = Annotators(served.url, served.tokens, prefer_higher_return, think=think)
    with served.showing(), program:
        found = train(words, folder / "later")
    order = [int(row["query"].split("/")[1]) for row in served.answers()]
    served.close()
    steps_back = sum(after < before for before, after in zip(order, order[1:], strict=False))
    return found | {"answered_out_of_order": steps_back, "errors": program.errors}


def prefer_higher_return(client: LabellingClient, task: Task) -> dict[str, float]:
    """Label a pair by the returns that its numbers come to."""
    return_0, return_1 = (
        pendulum_return(np.array(one["observations"]), np.array(one["actions"]))
        for one in client.numbers(task)
    )
    return {"label": float(return_1 > return_0)}


def pendulum_return(observations: np.ndarray, actions: np.ndarray) -> float:
    """Return the sum of Pendulum's rewards -(angle^2 + 0.1 speed^2 + 0.001 torque^2)."""
    cosine, sine, speed = observations.T
    torque = MAX_ACTION * np.clip(actions[:, 0], -1, 1)
    return -float((np.arctan2(sine, cosine) ** 2 + 0.1 * speed**2 + 0.001 * torque**2).sum())


def compare(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return means with 95 % intervals, and whether the difference may be none."""
    scores = {name: np.array([run["score"] for run in found]) for name, found in runs.items()}
    rng = np.random.default_rng(0)
    means = {
        name: rng.choice(one, (NUM_RESAMPLES, len(one))).mean(1) for name, one in scores.items()
    }
    difference = means["over_http"] - means["in_process"]
    low, high = np.percentile(difference, [2.5, 97.5])
    random = statistics.mean(run["random_score"] for found in runs.values() for run in found)
    return {
        **{name: _mean(scores[name], means[name]) for name in scores},
        "difference": {
            "mean": round(float(scores["over_http"].mean() - scores["in_process"].mean()), 1),
            "interval": [round(float(low), 1), round(float(high), 1)],
        },
        "is_same_within_intervals": bool(low <= 0 <= high),
        "random_score": round(random, 1),
    }


def _mean(scores: np.ndarray, resampled: np.ndarray) -> dict[str, Any]:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return {
        "mean": round(float(scores.mean()), 1),
        "interval": [round(float(low), 1), round(float(high), 1)],
    }


if __name__ == "__main__":
    tyro.cli(main)
