"""`pbrl label export`: labels for other programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from pbrl.commands.label.data import open_labelled
from pbrl.offline.files import check_new_file
from pbrl.offline.labels.export import SUFFIXES, export_labels
from pbrl.offline.labels.table import ScoreTable


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """Write labels for other programs, one row per answer.

    Attributes:
        labels: a record, or a file or folder of any other known kind.
        out: .csv, .parquet (with pyarrow), or .npz of pairs that hold their segments.
        dataset: what was labelled; .npz needs it. With it segments are named by episode.
    """

    labels: Annotated[Path, tyro.conf.Positional]
    out: Annotated[Path, tyro.conf.Positional]
    dataset: str | None = None


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label export` with the words after it.

    Raises:
        ValueError: if the labels cannot be written as the ending of the file says.
        FileExistsError: if `out` is there already.
    """
    options = tyro.cli(
        ExportOptions,
        args=list(arguments),
        prog="pbrl label export",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    check_new_file(options.out, SUFFIXES)
    table, dataset = open_labelled(options.labels, options.dataset)
    if isinstance(table, ScoreTable):
        raise ValueError(f"{options.labels} holds scores of segments, not labels")
    export_labels(table, options.out, dataset)
    Console(soft_wrap=True).print(f"{options.out}: {len(table)} answers", markup=False)
