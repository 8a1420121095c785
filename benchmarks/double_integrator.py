"""Learn to control a double integrator from preferences alone, by every direct method.

    python benchmarks/double_integrator.py --seeds 0 1 2

Trains each method on 2,500 segments of 16 steps labelled by their exact regret, rolls it out every
500 updates, prints the returns beside those of reference runs of the same description, writes a
record and puts its table into a page. One thread; about 20 seconds per method and seed on an idle
core.
"""

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.table import Table
from toys.integrator import (
    ACTION_DIM,
    OBSERVATION_DIM,
    behaviour,
    best,
    make_data,
    mean_return,
)

from pbrl.agents.bc import BC, BCConfig
from pbrl.agents.cpl import CPL, CPLConfig
from pbrl.agents.ipl import IPL, IPLConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.agents.protocol import OfflineAgent
from pbrl.pairs import OfflineBatch, PairBatch, ScoredSegments
from pbrl.preference import LossConfig
from pbrl.randomness import Generators
from pbrl.replay import ReplayBuffer
from pbrl.training.machine import commit, machine, versions
from pbrl.training.suite_report import put_on_page
from pbrl.training.tables import markdown

ROOT = Path(__file__).parents[1]
UPDATES, EVALUATE_EVERY, PRETRAINING = 4000, 500, 1500
NUM_LAST = 3  # checkpoints whose best is judged, as in the reference runs
HIDDEN_SIZES = (128, 128)
# Final returns of reference runs of the same description, seeds 0, 1, 2; None was not run.
REFERENCE: Mapping[str, tuple[float | None, ...]] = {
    "bc": (-18.3, -19.0, None),
    "sft": (-15.8, -16.8, None),
    "cpl": (-12.0, -13.4, -13.0),
    "cpl, lambda 1": (-165.9, -13.4, None),
    "cpl, no pre-training": (-3850.0, None, None),
    "ipl": (-7.6, -6.0, -6.7),
}


def methods() -> dict[str, tuple[type[Any], Any]]:
    """Return the class and the configuration of every method."""
    fixed = PolicyConfig(kind="fixed-variance", hidden_sizes=HIDDEN_SIZES)
    cloning = {"policy": fixed, "data": "segments", "learning_rate": 1e-3, "batch_size": 96}

    def cpl(bias: float, pretraining: int) -> CPLConfig:
        return CPLConfig(
            policy=fixed,
            loss=LossConfig(name="biased", bias=bias),
            pretraining_updates=pretraining,
            learning_rate=1e-3,
            warmup_updates=0,
        )

    ipl = IPLConfig(
        policy=PolicyConfig(hidden_sizes=HIDDEN_SIZES),
        hidden_sizes=HIDDEN_SIZES,
        learning_rate=1e-3,
        regularizer=4.0,
        clip_value=False,
        num_pairs=32,
        num_transitions=0,
        segment_steps=None,
    )
    return {
        "bc": (BC, BCConfig(**cloning)),
        "sft": (BC, BCConfig(**cloning, preferred_after=PRETRAINING)),
        "cpl": (CPL, cpl(0.5, PRETRAINING)),
        "cpl, lambda 1": (CPL, cpl(1.0, PRETRAINING)),
        "cpl, no pre-training": (CPL, cpl(0.5, 0)),
        "ipl": (IPL, ipl),
    }


def draw(
    agent: OfflineAgent, data: ScoredSegments, replay: ReplayBuffer, generator: torch.Generator
) -> OfflineBatch:
    """Draw the pairs that the agent's next update asks for."""
    drawn = data.draw(agent.batch_sizes.pairs, generator)
    pairs = PairBatch(replay.gather(drawn.index), drawn.labels, drawn.weights)
    return OfflineBatch(pairs=pairs)


def train(method: str, seed: int, updates: int = UPDATES) -> dict[str, Any]:
    """Train one method and return its row of the record."""
    generators = Generators(seed, ("data", "draws", "agent"))
    replay, data = make_data(generators["data"])
    kind, config = methods()[method]
    agent = kind(config, OBSERVATION_DIM, ACTION_DIM, generator=generators["agent"])
    began, curve, metrics = time.process_time(), [], {}
    for update in range(1, updates + 1):
        metrics = agent.update(draw(agent, data, replay, generators["draws"]))
        if update % EVALUATE_EVERY == 0 or update == updates:
            curve.append((update, mean_return(lambda seen: agent.act(seen, deterministic=True))))
    return {
        "method": method,
        "seed": seed,
        "curve": curve,
        "final": curve[-1][1],
        "best_of_last": max(score for _, score in curve[-NUM_LAST:]),
        "accuracy": float(metrics["accuracy"]) if "accuracy" in metrics else None,
        "cpu_seconds": time.process_time() - began,
    }


HEADER = ("method", "final return", "best of the last 3", "accuracy", "reference, final")


def rows_of(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the text of the table, one row per method, seeds beside each other."""
    rows = []
    for method, reference in REFERENCE.items():
        runs = sorted(
            (row for row in record["rows"] if row["method"] == method),
            key=lambda row: int(row["seed"]),
        )
        if not runs:
            continue
        accuracies = [row["accuracy"] for row in runs if row["accuracy"] is not None]
        rows.append(
            (
                method,
                " / ".join(f"{row['final']:,.1f}" for row in runs),
                " / ".join(f"{row['best_of_last']:,.1f}" for row in runs),
                f"{statistics.mean(accuracies):.2f}" if accuracies else "",
                " / ".join("-" if score is None else f"{score:,.1f}" for score in reference),
            )
        )
    return rows


def write_page(record: Mapping[str, Any], page: Path) -> None:
    """Put the table of a record into a markdown page; what else stands there stays."""
    found = record["machine"]
    body = "\n\n".join(
        [
            f"`python benchmarks/double_integrator.py`, seeds {record['seeds']}, "
            f"{record['updates']} updates, {record['cpu_minutes']:.0f} minutes of {found['cpu']}. "
            f"The regulator, which knows the dynamics, returns {record['best']:.1f}; the "
            f"behaviour's mean action {record['behaviour']:.1f}.",
            markdown(HEADER, rows_of(record)),
        ]
    )
    put_on_page(page, "double-integrator", body, heading="# Methods\n")


def main(
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    only: tuple[str, ...] = tuple(REFERENCE),
    updates: int = UPDATES,
    output: Path | None = None,
    page: Path | None = None,
) -> None:
    """Train, print the table, write the record and the page.

    Args:
        seeds: of data, draws and networks.
        only: names in `REFERENCE`.
        updates: per method; 4,000 in the reference runs.
        output: JSON file; benchmarks/results/double-integrator.json when not given.
        page: markdown page; docs/methods.md when nothing is left out and neither is given.
    """
    unknown = set(only) - set(REFERENCE)
    if unknown:
        raise SystemExit(f"unknown methods {sorted(unknown)}; there are {list(REFERENCE)}")
    torch.set_num_threads(1)
    rows = []
    for method in only:
        for seed in seeds:
            rows.append(train(method, seed, updates))
            print(f"{method}, seed {seed}: {rows[-1]['final']:,.1f}", flush=True)
    record = {
        "schema": 1,
        "seeds": list(seeds),
        "updates": updates,
        "best": mean_return(best),
        "behaviour": mean_return(behaviour(None)),
        "rows": rows,
        "cpu_minutes": sum(row["cpu_seconds"] for row in rows) / 60,
        "machine": machine(),
        "versions": versions(),
        "commit": commit(),
    }
    table = Table(*HEADER, title=f"double integrator, seeds {seeds}")
    for row in rows_of(record):
        table.add_row(*row)
    Console(width=140).print(table)
    if output is None and page is None and set(only) == set(REFERENCE) and updates == UPDATES:
        page = ROOT / "docs" / "methods.md"
    path = output or ROOT / "benchmarks" / "results" / "double-integrator.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    if page is not None:
        write_page(record, page)
        print(f"wrote {page}")


if __name__ == "__main__":
    tyro.cli(main)
