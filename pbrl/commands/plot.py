"""`pbrl plot`: learning curves of runs or records."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.console import Console

from pbrl.training.files import read_json
from pbrl.training.plots import Against, learning_curves, save_figure
from pbrl.training.result import Result
from pbrl.training.run_folder import is_run
from pbrl.training.tables import suite_table

RESULT = "result.json"


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
    if left_out := others(options.records):
        names = ", ".join(file.as_posix() for file in left_out)
        console.print(f"not of runs, left out: {names}", markup=False, soft_wrap=True)


def load_results(paths: Sequence[Path]) -> list[Result]:
    """Return the records in files and folders, each once, ordered by path.

    In a folder, what is a record of something else than a run is left out, see `others`.

    Raises:
        FileNotFoundError: if a path does not exist or holds no record.
        ValueError: if a file is not a record.
    """
    files: dict[Path, None] = {}
    for path in paths:
        found = [path] if path.is_file() else _records_in(path)
        if not found:
            raise FileNotFoundError(
                f"{path} holds no {RESULT} and no records: {_what_instead(path)}"
            )
        if path.is_file() and not (path.suffix == ".json" and _is_of_run(path)):
            raise ValueError(
                f"{path} is not the record of a run: give a {RESULT}, a record of a benchmark "
                "(.json), or a folder of them"
            )
        files.update(dict.fromkeys(file.resolve() for file in found))
    return [Result.load(file) for file in files]


def _what_instead(path: Path) -> str:
    """Return why there is nothing to draw at a path, and what to do."""
    if is_run(path):
        return f"its run is not complete, `--resume` of the command that began it writes {RESULT}"
    if not path.exists():
        return "there is nothing of that name; give folders of runs, or records (.json)"
    return "give folders that hold complete runs, or records of `pbrl benchmark`"


def others(paths: Sequence[Path]) -> list[Path]:
    """Return the JSON files in folders that `load_results` leaves out."""
    found = {file for path in paths if path.is_dir() for file in _json_files(path)}
    return sorted(found - {file for path in paths for file in _records_in(path)})


def _records_in(folder: Path) -> list[Path]:
    """Return the results of runs, or, in a folder without runs, its records."""
    files = _json_files(folder)
    return [file for file in files if file.name == RESULT] or [
        file for file in files if _is_of_run(file)
    ]


def _json_files(folder: Path) -> list[Path]:
    """Return the results of runs, or, in a folder without runs, all JSON files."""
    return sorted(folder.rglob(RESULT)) or sorted(folder.rglob("*.json"))


def _is_of_run(file: Path) -> bool:
    """Say whether a file is meant as the record of a run, be it a good one or not."""
    data = read_json(file)
    return isinstance(data, dict) and "agent" in data and "curve" in data
