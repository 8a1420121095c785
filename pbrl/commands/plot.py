"""`pbrl plot`: learning curves of runs or records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console

from pbrl.training.plots import Against, learning_curves, save_figure
from pbrl.training.result import Result
from pbrl.training.tables import suite_table


@dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """Draw learning curves and print a table of the scores.

    Attributes:
        records: records (.json), folders of runs, or folders that hold either at any depth.
        against: what runs along: environment steps, or labels asked.
        statistic: over the runs of a method: the interquartile mean or the mean.
        out: the figure, .svg, .png or .pdf.
    """

    records: Annotated[tuple[Path, ...], tyro.conf.Positional]
    against: Against = "steps"
    statistic: Literal["iqm", "mean"] = "iqm"
    out: Path = Path("curves.svg")


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl plot` with the words after it."""
    options = tyro.cli(
        PlotOptions,
        args=list(arguments),
        prog="pbrl plot",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    results = load_results(options.records)
    figure = learning_curves(
        results, np.random.default_rng(0), against=options.against, statistic=options.statistic
    )
    save_figure(figure, options.out)
    console = Console()
    console.print(suite_table(results, np.random.default_rng(0)), markup=False, soft_wrap=True)
    console.print(f"figure: {options.out}", markup=False)


def load_results(paths: Sequence[Path]) -> list[Result]:
    """Return the records in files and folders, each once, ordered by path.

    Raises:
        FileNotFoundError: if a path does not exist or holds no record.
        ValueError: if a file is not a record.
    """
    files: dict[Path, None] = {}
    for path in paths:
        found = [path] if path.is_file() else _records_in(path)
        if not found:
            raise FileNotFoundError(f"{path} holds no result.json and no records of a benchmark")
        files.update(dict.fromkeys(file.resolve() for file in found))
    return [Result.load(file) for file in files]


def _records_in(folder: Path) -> list[Path]:
    """Return the results of runs, or, in a folder without runs, its records."""
    runs = sorted(folder.rglob("result.json"))
    return runs or sorted(folder.rglob("*.json"))
