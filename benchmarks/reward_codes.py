"""Learn a reward from few labels with and without TACO's codes in front of it.

    python benchmarks/make_offline_metaworld.py --tasks drawer-open door-open
    python benchmarks/reward_codes.py
    python benchmarks/reward_codes.py --page-only    # the table of the record that is there

A perfectly rational teacher compares random pairs of segments by their true returns. The codes are
learned from all steps of the dataset, without labels, or are left as they were drawn, which tells
what learning them brings. Accuracy on unseen pairs of the same dataset, by which all are judged
alike; writes a record and puts its table into a page.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from records import read_record, write_record

from pbrl.feedback import LabelledQueries
from pbrl.offline.load import load_dataset
from pbrl.preference import is_correct
from pbrl.randomness import Generators
from pbrl.replay import ReplayBuffer
from pbrl.reward_codes import RewardCodesConfig
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.state_codes import StateCodes, StateCodesConfig
from pbrl.taco import TacoConfig
from pbrl.training.suite_report import put_on_page
from pbrl.training.tables import markdown

ROOT = Path(__file__).parents[1]
TASKS = ("drawer-open", "door-open")
STEPS = 64
UNSEEN = 1_000
PURPOSES = ("labels", "unseen", "initial", "learning")
Arm = Literal["none", "learned", "as drawn"]
ARMS: tuple[Arm, ...] = ("none", "learned", "as drawn")
CODES = RewardCodesConfig(
    codes=StateCodesConfig(
        learning_rate=3e-4, taco=TacoConfig(hidden_size=256, reward=False, noise=0.03)
    ),
    initial_updates=0,
)
UPDATES = 1_000
NETWORK = RewardConfig(hidden_sizes=(128, 128), normalize_observations=True)
LEARNING = RewardLearningConfig(batch_size=32, steps_per_label=160.0, target_accuracy=1.0)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure and where to write it.

    Attributes:
        data: folder of the datasets.
        labels: numbers of labels.
        seeds: of labels and networks.
        updates: of the codes.
        record: JSON file of the figures.
        page: page that holds their table.
        page_only: make the table from the record there is.
    """

    data: Path = ROOT / "data" / "metaworld-cpl"
    labels: tuple[int, ...] = (25, 100)
    seeds: int = 3
    updates: int = UPDATES
    record: Path = ROOT / "benchmarks" / "results" / "reward-codes.json"
    page: Path = ROOT / "docs" / "representation.md"
    page_only: bool = False


def compared(replay: ReplayBuffer, number: int, generator: torch.Generator) -> LabelledQueries:
    """Return random pairs of segments, labelled by their true returns."""
    index = replay.sample_segments(2 * number, STEPS, generator).reshape(number, 2)
    return_0, return_1 = replay.gather(index).true_returns().unbind(-1)
    return LabelledQueries(index, (return_1 > return_0).float(), torch.ones(number))


def make_learner(
    replay: ReplayBuffer, config: RewardConfig, initial: torch.Generator
) -> RewardLearner:
    """Return an untrained reward of a dataset's steps."""
    sizes = replay.gather(replay.sample_segments(1, 1, torch.Generator()))
    dims = (sizes.observations.shape[-1], sizes.actions.shape[-1])
    return RewardLearner(LEARNING, RewardEnsemble(config, *dims, generator=initial), initial)


def learn_codes(replay: ReplayBuffer, seed: int, updates: int) -> tuple[dict[str, Any], float]:
    """Return codes that were learned from all steps, and the loss of these updates."""
    generators = Generators(seed, PURPOSES)
    config = replace(NETWORK, codes=replace(CODES, initial_updates=updates))
    learner = make_learner(replay, config, generators["initial"])
    pair = compared(replay, 1, generators["labels"])  # says nothing to them
    begun = learner.begin(pair, replay, generators["learning"])
    assert isinstance(learner.ensemble.codes, StateCodes)
    return learner.ensemble.codes.state_dict(), begun.metrics["codes/loss"]


def accuracy(
    replay: ReplayBuffer, arm: Arm, num_labels: int, seed: int, codes: dict[str, Any]
) -> float:
    """Return the share of unseen pairs that a learned reward orders rightly.

    All arms have the same labels and are judged by the same pairs.
    """
    generators = Generators(seed, PURPOSES)
    labelled = compared(replay, num_labels, generators["labels"])
    unseen = compared(replay, UNSEEN, generators["unseen"])
    config = replace(NETWORK, codes=None if arm == "none" else CODES)
    learner = make_learner(replay, config, generators["initial"])
    if arm == "learned":
        assert isinstance(learner.ensemble.codes, StateCodes)
        learner.ensemble.codes.load_state_dict(codes)
    learner.fit(labelled, replay, generators["learning"])
    with torch.no_grad():
        returns = learner.ensemble.segment_returns(replay.gather(unseen.index)).mean(0)
    right = is_correct(returns[:, 1] - returns[:, 0], unseen.labels)
    return float(right.double().mean())


HEADER = ("task", "labels", "plain", "learned codes", "codes as drawn")


def table(record: Mapping[str, Any]) -> str:
    """Return a markdown table; means over seeds, in parentheses the least of them."""
    kinds = dict.fromkeys((row["task"], row["labels"]) for row in record["rows"])
    return markdown(
        HEADER,
        [
            [task, f"{number}", *(_cell(record["rows"], task, number, arm) for arm in ARMS)]
            for task, number in kinds
        ],
    )


def _cell(rows: list[dict[str, Any]], task: str, number: int, arm: Arm) -> str:
    found = torch.tensor(
        [
            row["accuracy"]
            for row in rows
            if (row["task"], row["labels"], row["arm"]) == (task, number, arm)
        ]
    )
    return f"{found.mean():.3f} ({found.min():.3f})"


def write_page(record: Mapping[str, Any], page: Path) -> None:
    """Put the table of a record into a markdown page; what else stands there stays."""
    seeds = len({row["seed"] for row in record["rows"]})
    body = (
        f"`python benchmarks/reward_codes.py`, {seeds} seeds, segments of {STEPS} steps, "
        f"{record['updates']:,} updates of the codes, share of {UNSEEN:,} unseen pairs put in "
        f"order; in parentheses the least of the seeds.\n\n{table(record)}"
    )
    put_on_page(page, "reward-codes", body, heading="# Codes\n")


def main(options: Options) -> None:
    """Learn with every number of labels, with codes and without."""
    torch.set_num_threads(1)
    if options.page_only:
        write_page(read_record(options.record), options.page)
        return
    rows: list[dict[str, Any]] = []
    for seed, task in product(range(options.seeds), TASKS):
        replay = load_dataset(str(options.data / f"{task}-v0")).replay
        codes, loss = learn_codes(replay, seed, options.updates)
        for number, arm in product(options.labels, ARMS):
            right = accuracy(replay, arm, number, seed, codes)
            kind = {"task": task, "labels": number, "arm": arm, "seed": seed}
            rows.append({**kind, "accuracy": right, "codes_loss": loss})
            print(rows[-1], flush=True)
        record = write_record(options.record, updates=options.updates, rows=rows)
        write_page(record, options.page)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
