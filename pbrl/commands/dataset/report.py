"""`pbrl dataset report`: describe a dataset, and judge policies by it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from pbrl.checks import check_seed
from pbrl.commands.waiting import waiting_bar
from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.fqe import FQEConfig
from pbrl.offline.load import load_dataset
from pbrl.training.dataset_report import DatasetReport, draw_returns, report_dataset, report_text
from pbrl.training.files import plain, write_json, write_text
from pbrl.training.machine import commit, versions
from pbrl.training.plots import save_figure
from pbrl.training.policy_report import PolicyReport, PolicyReportConfig, report_policy

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Describe a dataset: episodes, returns, ends, coverage, duplicates, and what it suits.

    With `--policy` it also says what a policy is worth: by the data alone (fitted Q evaluation),
    and rolled out where the dataset has an environment.

    Attributes:
        dataset: a path, or a kind and a name, such as minari:mujoco/hopper/expert-v0.
        policy: runs, checkpoints or SAC files of stable-baselines3.
        fqe: the evaluation from data alone.
        no_fqe: leave that out.
        episodes: roll-outs of each policy; 0 for none.
        env: environment to roll out in, other than the dataset's own.
        seed: of what is drawn.
        out: folder for report.md, report.json and returns.svg.
    """

    dataset: Annotated[str, tyro.conf.Positional]
    policy: tuple[Path, ...] = ()
    fqe: FQEConfig = field(default_factory=FQEConfig)
    no_fqe: bool = False
    episodes: int = 10
    env: str | None = None
    seed: int = 0
    out: Path | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl dataset report` with the words after it.

    Raises:
        ValueError: if the dataset cannot be read or a policy does not fit it.
    """
    options = tyro.cli(
        ReportOptions,
        args=list(arguments),
        prog="pbrl dataset report",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    dataset = load_dataset(options.dataset, env=options.env)
    policies = tuple(_judge(dataset, path, options) for path in options.policy)
    report = report_dataset(dataset, policies)
    console = Console(soft_wrap=True)
    console.print(report_text(report), markup=False, highlight=False)
    if options.out is not None:
        write_report(report, dataset, options.out)
        console.print(f"written: {options.out}", markup=False, highlight=False)


def _judge(dataset: OfflineDataset, path: Path, options: ReportOptions) -> PolicyReport:
    config = PolicyReportConfig(
        fqe=None if options.no_fqe else options.fqe, episodes=options.episodes, seed=options.seed
    )
    with waiting_bar() as bar:
        task = bar.add_task(f"fitted Q evaluation of {path.name}", total=options.fqe.updates)
        return report_policy(
            dataset, path, config, on_update=lambda done: bar.update(task, completed=done)
        )


def write_report(report: DatasetReport, dataset: OfflineDataset, folder: Path) -> None:
    """Write the report as text, as a record and as a figure."""
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{report_text(report)}\n\n![Returns and lengths](returns.svg)\n"
    write_text(folder / "report.md", text)
    record = {
        "schema": SCHEMA,
        "kind": "dataset-report",
        **plain(report),
        "versions": versions(),
        "commit": commit(),
    }
    write_json(folder / "report.json", record)
    save_figure(draw_returns(dataset), folder / "returns.svg")
