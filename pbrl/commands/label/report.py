"""`pbrl label report`: what labels say, how far they agree, and whether they can be learned."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from rich.progress import Progress, TaskID

from pbrl.checks import check_seed
from pbrl.commands.label.data import open_labelled
from pbrl.commands.label.report_tables import LabelReport, report_text
from pbrl.commands.waiting import waiting_bar
from pbrl.offline.checks import sha256
from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.labels.agreement import agree
from pbrl.offline.labels.formats import Table
from pbrl.offline.labels.held_out import HeldOutAccuracy, HeldOutConfig, held_out_accuracy
from pbrl.offline.labels.join import to_preferences
from pbrl.offline.labels.summary import summarize
from pbrl.offline.labels.table import LabelTable, ScoreTable
from pbrl.reward_learning import RewardLearningConfig
from pbrl.rewards import RewardConfig
from pbrl.training.files import plain, write_json
from pbrl.training.machine import commit, machine, versions

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Count and judge the labels of a file, or of two files on the same pairs.

    Attributes:
        labels: file or folder of any known kind.
        other: another one, to be compared with the first; pairs are matched by their segments.
        dataset: what was labelled; only the held-out accuracy needs it. Files that hold their
            segments need none.
        splits: random splits over which the accuracy of a reward model on held-out labels is
            averaged; 0 leaves that out.
        test_share: share of the pairs held out in each split.
        members: networks in the reward model.
        hidden_sizes: width of their hidden layers.
        passes: most passes over the labels learned from.
        seed: of splits and reward models; two files of the same pairs are split alike.
        score: which score of a CPL file to take; rl_sum by default.
        out: also write everything to this file, .json.
    """

    labels: Annotated[Path, tyro.conf.Positional]
    other: Annotated[Path | None, tyro.conf.Positional] = None
    dataset: str | None = None
    splits: int = 10
    test_share: float = 0.2
    members: int = 3
    hidden_sizes: tuple[int, ...] = (64, 64)
    passes: int = 50
    seed: int = 0
    score: str | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)

    def held_out(self) -> HeldOutConfig | None:
        """Return how to split and fit, None if that is to be left out."""
        if self.splits == 0:
            return None
        return HeldOutConfig(
            splits=self.splits,
            test_share=self.test_share,
            reward=RewardConfig(
                num_members=self.members,
                hidden_sizes=self.hidden_sizes,
                normalize_observations=True,
            ),
            learning=RewardLearningConfig(passes=self.passes),
        )


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label report` with the words after it.

    Raises:
        ValueError: if a file does not hold what was expected, or two cannot be compared.
    """
    options = tyro.cli(
        ReportOptions,
        args=list(arguments),
        prog="pbrl label report",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    report = make_report(options)
    Console(soft_wrap=True).print(report_text(report), markup=False, highlight=False)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_json(options.out, record_of(report, options))


def make_report(options: ReportOptions) -> LabelReport:
    """Return what the files hold and how far they agree, with a progress bar for what takes time.

    Raises:
        ValueError: if a file does not hold what was expected, or two cannot be compared.
    """
    begin = time.perf_counter()
    config = options.held_out()
    paths = [path for path in (options.labels, options.other) if path is not None]
    with waiting_bar() as bar:
        task = bar.add_task("", total=None)
        opened = {}
        for path in paths:
            bar.update(task, description=f"reading {path.name}", refresh=True)
            opened[str(path)] = open_labelled(path, options.dataset, score=options.score)
        bar.update(task, description="counting and comparing labels", refresh=True)
        tables = {name: table for name, (table, _) in opened.items()}
        if options.other is not None:
            _check_are_labels(tables)
        labels = [table for table in tables.values() if isinstance(table, LabelTable)]
        files = {str(path): sha256(path) if path.is_file() else None for path in paths}
        summaries = {
            name: summarize(table) if isinstance(table, LabelTable) else len(table)
            for name, table in tables.items()
        }
        agreement = agree(*labels) if len(labels) == 2 else None  # noqa: PLR2004  two files
        bar.remove_task(task)
        with_data = {
            name: (table, data) for name, (table, data) in opened.items() if data is not None
        }
        held_out = _held_out(with_data, config, options.seed, bar) if config else {}
    return LabelReport(
        files=files,
        summaries=summaries,
        agreement=agreement,
        held_out=held_out,
        wall_seconds=round(time.perf_counter() - begin, 1),
    )


def _check_are_labels(tables: Mapping[str, Table]) -> None:
    """Refuse to compare what holds no labels."""
    for name, table in tables.items():
        if isinstance(table, ScoreTable):
            raise ValueError(
                f"{name} holds scores of segments, not labels of pairs, and agrees with nothing: "
                "compare two files of labels, or report on it alone"
            )


def _held_out(
    opened: dict[str, tuple[Table, OfflineDataset]],
    config: HeldOutConfig,
    seed: int,
    bar: Progress,
) -> dict[str, HeldOutAccuracy]:
    accuracies = {}
    for name, (table, dataset) in opened.items():
        task = bar.add_task(f"reward models on {Path(name).name}", total=config.splits)
        accuracies[name] = held_out_accuracy(
            to_preferences(table, dataset),
            dataset.replay,
            config,
            torch.Generator(dataset.replay.device).manual_seed(seed),
            on_split=partial(_advance, bar, task),
        )
    return accuracies


def _advance(bar: Progress, task: TaskID, done: int) -> None:
    bar.update(task, completed=done)


def record_of(report: LabelReport, options: ReportOptions) -> dict[str, Any]:
    """Return a report as JSON knows it, with what is needed to repeat it."""
    config = {name: value for name, value in vars(options).items() if name != "out"}
    return {
        "schema": SCHEMA,
        "kind": "label-report",
        **_without_nan(plain(report)),
        "config": plain(config),
        "versions": versions(),
        "machine": machine(),
        "commit": commit(),
    }


def _without_nan(value: Any) -> Any:
    """Return a plain value with None for every NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if value != value else value
