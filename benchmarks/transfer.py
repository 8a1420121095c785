"""Carry labels between Meta-World tasks: the label files of a suite, and how right they are.

    python benchmarks/make_offline_metaworld.py --tasks drawer-open door-open button-press
    python benchmarks/transfer.py
    python benchmarks/transfer.py --page-only    # the table of the record that is there

For each pair of tasks, number of labels at the source and seed: a perfectly rational teacher
compares pairs of source segments by their true returns (`pbrl label simulate --score.score return
--pairs 100`), and the answers are carried to the target (`pbrl label transfer`) by distances alone
("none"), with the anchors "time" and "progress" (the default) and, as a control, with "time" from
answers that were shuffled. The target's true returns say how right the labels are. Labels of the
first seeds are written for the suite credit-transfer-cpu, with as many true labels of each target
beside them.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from records import read_record, write_record
from torch import Tensor

from pbrl.dataset_identity import identify
from pbrl.feedback import TIE, FeedbackStore
from pbrl.offline.load import load_dataset
from pbrl.offline.simulate import Judge, ScoreConfig, draw_segments, label_pairs
from pbrl.offline.transfer import TransferConfig, Transferred, transfer_labels
from pbrl.pairs import LabelledPairs
from pbrl.queries.teachers import make_teacher
from pbrl.randomness import Generators
from pbrl.replay import ReplayBuffer
from pbrl.training.label_transfer import describe, to_store
from pbrl.training.suite_report import put_on_page
from pbrl.training.tables import markdown

ROOT = Path(__file__).parents[1]
PAIRS = (
    ("door-open", "drawer-open"),
    ("drawer-open", "door-open"),
    ("button-press", "door-open"),
)
SOURCE_LABELS = (100, 500)
STEPS = 64
TARGET_LABELS = 500
Arm = Literal["none", "time", "progress", "time, shuffled labels"]
ARMS: tuple[Arm, ...] = ("none", "time", "progress", "time, shuffled labels")
WRITTEN: Mapping[Arm, str] = {"time": "", "progress": "progress-"}
"""Arms whose labels are written, and what tells their files apart."""
PURPOSES = ("segments", "teacher", "transfer", "shuffle")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure and where to write it.

    Attributes:
        data: folder of the datasets.
        labels: folder of the labels, one per target; those of a task's own are in true-N-SEED.npz,
            those that came from a source in SOURCE-N-SEED.npz and, by "progress", in
            SOURCE-N-progress-SEED.npz.
        seeds: seeds per alignment.
        workers: processes, a seed each.
        label_seeds: of these, the first ones whose labels are written.
        record: JSON file of the figures.
        page: page that holds their table.
        page_only: make the table from the record there is; no label is written then.
    """

    data: Path = ROOT / "data" / "metaworld-cpl"
    labels: Path = ROOT / "data" / "transfer"
    seeds: int = 10
    workers: int = 1
    label_seeds: int = 3
    record: Path = ROOT / "benchmarks" / "results" / "transfer.json"
    page: Path = ROOT / "docs" / "credit-and-transfer.md"
    page_only: bool = False


def answers(replay: ReplayBuffer, number: int, generators: Generators) -> FeedbackStore:
    """Return the answers of a rational teacher to random pairs of segments, by true return."""
    index = draw_segments(replay, 2 * number, STEPS, generators["segments"])
    judge = Judge(replay, ScoreConfig(score="return"))
    teacher = make_teacher("oracle")
    return label_pairs(judge, replay, index.reshape(number, 2), teacher, generators["teacher"])


def carry(
    source: ReplayBuffer, target: ReplayBuffer, arm: Arm, num_labels: int, seed: int
) -> Transferred:
    """Return the labels that one way of aligning brings.

    Ambiguous alignments are taken all the same, with a warning.

    Args:
        source: episodes with a true reward to label them by.
        target: episodes of another task.
        arm: how they are aligned.
        num_labels: at the source, one of `SOURCE_LABELS`.
        seed: of labels and alignments; all arms have the same labels.
    """
    generators = Generators(seed, PURPOSES)
    labelled = answers(source, num_labels, generators).labelled()
    if arm == "time, shuffled labels":
        order = torch.randperm(len(labelled), generator=generators["shuffle"])
        labelled = replace(labelled, labels=labelled.labels[order])
    config = TransferConfig(
        anchor="time" if arm == "time, shuffled labels" else arm,
        pairs=TARGET_LABELS,
        ambiguous="warn",
    )
    return transfer_labels(source, LabelledPairs(labelled), target, config, generators["transfer"])


def judge(made: Transferred, target: ReplayBuffer) -> dict[str, Any]:
    """Return how right transferred labels are.

    An alignment is mirrored if the true returns contradict most of the labels that it alone brings,
    over all pairs of the aligned segments. `later` is the share of these pairs that the rule "the
    later segment of an episode is better" gets right, `as_later` that on which the labels say what
    the rule says.
    """
    returns = target.gather(made.segments).true_returns().cpu()
    starts = made.segments.start.cpu()
    later = 0.5 + 0.5 * (starts - starts[:, None]).sign().double()
    said = describe(made, target)
    return {
        "accuracy": said["accuracy"],
        "accuracy_of_all": said["accuracy_of_all"],
        "labels": said["counts"]["labels"],
        "alignments": len(made.rounds),
        "mirrored": sum(share_right(one.labels, returns) < TIE for one in made.rounds),
        "is_doubted": any("inverted" in doubt for doubt in made.warnings),
        "later": share_right(later, returns),
        "as_later": share_right(made.labels, starts),
    }


def share_right(labels: Tensor, returns: Tensor) -> float:
    """Return the share of pairs, ties left out, whose label agrees with the returns.

    Args:
        labels: P(column preferred to row), `[segment, segment]`.
        returns: `[segment]`, or whatever else is larger of the better one.
    """
    gaps = returns - returns[:, None]
    decided = (labels != TIE) & (gaps != 0)
    return float(((labels > TIE) == (gaps > 0))[decided].double().mean())


def measure(
    source: ReplayBuffer, target: ReplayBuffer, num_labels: int, seed: int
) -> tuple[list[dict[str, Any]], dict[Arm, FeedbackStore]]:
    """Return a row per arm, and the labels of those arms that are written."""
    rows, stores = [], {}
    for arm in ARMS:
        started = time.process_time()
        row: dict[str, Any] = {"arm": arm, "source_labels": num_labels, "seed": seed}
        try:
            made = carry(source, target, arm, num_labels, seed)
        except ValueError as refusal:  # such as of a plan that tells nothing
            rows.append({**row, "refused": str(refusal)})
            continue
        seconds = time.process_time() - started
        rows.append({**row, **judge(made, target), "cpu_seconds": round(seconds, 2)})
        if arm in WRITTEN:
            stores[arm] = to_store(made.labelled())
    return rows, stores


HEADER = (
    "from, to", "labels", "anchor", "right, mean (least)", "of all pairs", "inverted runs",
    "mirrored alignments", "doubted", "later is better", "labels that say so",
)  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a markdown table, a line per pair of tasks, number of source labels and arm."""
    kinds = dict.fromkeys(
        (row["source"], row["target"], row["source_labels"], row["arm"]) for row in rows
    )
    lines = []
    for kind in kinds:
        source, target, number, arm = kind
        runs = [
            row
            for row in rows
            if (row["source"], row["target"], row["source_labels"], row["arm"]) == kind
        ]
        lines.append([f"{source}, {target}", f"{number}", arm, *_cells(runs)])
    return markdown(HEADER, lines)


def _cells(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    made = [run for run in runs if "refused" not in run]
    if not made:
        return ["refused", *["–"] * 6]
    right = [run["accuracy"] for run in made]
    mirrored, alignments = (sum(run[name] for run in made) for name in ("mirrored", "alignments"))
    refused = f", {len(runs) - len(made)} refused" if len(made) < len(runs) else ""
    return [
        f"{np.mean(right):.0%} ({min(right):.0%})",
        f"{np.mean([run['accuracy_of_all'] for run in made]):.0%}",
        f"{sum(share < TIE for share in right)} of {len(made)}{refused}",
        f"{mirrored} of {alignments}",
        f"{sum(run['is_doubted'] for run in made)} of {len(made)}",
        f"{np.mean([run['later'] for run in made]):.0%}",
        f"{np.mean([run['as_later'] for run in made]):.0%}",
    ]


def write_page(record: Mapping[str, Any], page: Path) -> None:
    """Put the table of a record into a markdown page; what else stands there stays."""
    seeds = max(row["seed"] for row in record["rows"]) + 1
    minutes = sum(row.get("cpu_seconds", 0.0) for row in record["rows"]) / 60
    body = "\n\n".join(
        [
            f"`python benchmarks/transfer.py`, {seeds} seeds, segments of {STEPS} steps, "
            f"{TARGET_LABELS} labels written at most, {minutes:.0f} minutes of one core of "
            f"{record['machine']['cpu']}.",
            table(record["rows"]),
        ]
    )
    put_on_page(page, "transfer", body, heading="# Credit and transfer\n")


def run_seed(
    options: Options, datasets: Mapping[str, ReplayBuffer], seed: int
) -> list[dict[str, Any]]:
    """Write the labels of a seed, if they are wanted, and return its rows of the record."""
    is_written, made = seed < options.label_seeds, []
    if is_written:
        for target in sorted({target for _, target in PAIRS}):
            store = answers(datasets[target], TARGET_LABELS, Generators(seed, PURPOSES))
            store.dataset = identify(target, datasets[target])
            _save(store, options.labels / target / f"true-{TARGET_LABELS}-{seed}.npz")
    for source, target in PAIRS:
        for number in SOURCE_LABELS:
            rows, stores = measure(datasets[source], datasets[target], number, seed)
            for arm, store in stores.items() if is_written else ():
                name = f"{source}-{number}-{WRITTEN[arm]}{seed}.npz"
                store.dataset = identify(target, datasets[target])
                _save(store, options.labels / target / name)
            made += [{"source": source, "target": target, **row} for row in rows]
    return made


def _save(store: FeedbackStore, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    store.save(path)


def load_and_run(options: Options, seed: int) -> list[dict[str, Any]]:
    """Return the rows of a seed, in a process of its own."""
    torch.set_num_threads(1)
    names = sorted({name for pair in PAIRS for name in pair})
    datasets = {name: load_dataset(str(options.data / f"{name}-v0")).replay for name in names}
    rows = run_seed(options, datasets, seed)
    print(f"seed {seed} is done", flush=True)
    return rows


def main(options: Options) -> None:
    """Write labels, record and table."""
    if options.page_only:
        write_page(read_record(options.record), options.page)
        return
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        parts = pool.map(partial(load_and_run, options), range(options.seeds))
        rows = [row for part in parts for row in part]
    write_page(write_record(options.record, rows=rows), options.page)
    print(table(rows))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
