"""`pbrl label import`: labels of any known kind become a record of this project."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from pbrl.commands.label.data import open_labelled, require_dataset
from pbrl.offline.files import check_new_file
from pbrl.offline.labels.formats import FORMATS
from pbrl.offline.labels.join import to_feedback, to_scored
from pbrl.offline.labels.scores import save_scores
from pbrl.offline.labels.table import ScoreTable


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Convert labels of any known kind to a record, in which 1 prefers the second segment.

    Attributes:
        labels: file or folder. Known are Preference Transformer and DPPO (0 first, 1 second, -1
            tie), Clean-Offline-RLHF (the same; scripted ones as pairs [1, 0], [0, 1], [.5, .5]),
            pairs of IPL and CPL (1 second), scored segments of CPL (higher is better) and CSV.
        out: the record to write, .npz.
        dataset: what was labelled: a name or a path. Files that hold their segments need none.
        kind: of the file; found out by default.
        score: which score of a CPL file to take; rl_sum by default.
        other_dataset: take the labels for those of `dataset` although the file says that they are
            of another: for the same episodes in another form, whose actions or rewards differ.
    """

    labels: Annotated[Path, tyro.conf.Positional]
    out: Annotated[Path, tyro.conf.Positional]
    dataset: str | None = None
    kind: str | None = None
    score: str | None = None
    other_dataset: bool = False

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in FORMATS:
            raise ValueError(f"kind must be one of {', '.join(FORMATS)}, got {self.kind}")


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label import` with the words after it.

    Raises:
        ValueError: if a file does not hold what was expected.
        FileExistsError: if `out` is there already.
    """
    options = tyro.cli(
        ImportOptions,
        args=list(arguments),
        prog="pbrl label import",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    check_new_file(options.out, (".npz",))
    table, dataset = open_labelled(
        options.labels, options.dataset, kind=options.kind, score=options.score
    )
    if len(table) == 0:
        raise ValueError(
            f"{options.labels} holds no answer: expected one at least, in CSV a line below the "
            "header"
        )
    dataset = require_dataset(table, dataset)
    if options.other_dataset:
        table = replace(table, identity=None)
    if isinstance(table, ScoreTable):
        save_scores(options.out, to_scored(table, dataset), dataset.identity())
        what = f"{len(table)} scored segments"
    else:
        store = to_feedback(table, dataset)
        store.save(options.out)
        what = f"{store.num_labelled} labels, {store.num_ties} of them ties, and "
        what += f"{store.num_skipped} refusals"
    Console(soft_wrap=True).print(
        f"{options.out}: {what}, for the dataset {dataset.info.name}", markup=False
    )
