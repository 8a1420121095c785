"""`pbrl label study export`: write what people said to a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from pbrl.commands.label.study.opened import StudyOptions, opened
from pbrl.queries.human.exports import (
    answer_table,
    table_as_csv,
    table_as_parquet,
    write_graded,
    write_pairs,
)
from pbrl.queries.human.kinds import PAIR_KINDS
from pbrl.queries.human.labels import Aggregate
from pbrl.queries.human.records import feedback_record

SUFFIXES = (".csv", ".parquet", ".npz")


@dataclass(frozen=True, kw_only=True)
class StudyExportOptions(StudyOptions):
    """Write what people said to a file.

    Attributes:
        out: .csv or .parquet for one row per answer, .npz for what a learner takes.
        holds: what an .npz holds: "pairs" with their segments, which need nothing else to learn
            from; "graded" segments, the ratings or rankings, likewise; or a "record" of pairs,
            which names segments as the study's source did. By default pairs, or graded segments.
        aggregate: in an .npz, "each" person's labels; each with the "reliability" of the person as
            weight; or one label per query, by "majority" or by Dawid and Skene's model.
    """

    out: Annotated[Path, tyro.conf.Positional]
    holds: Literal["pairs", "graded", "record"] | None = None
    aggregate: Aggregate = "each"

    def __post_init__(self) -> None:
        if self.out.suffix not in SUFFIXES:
            raise ValueError(f"out must end in {', '.join(SUFFIXES)}, got {self.out}")


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label study export` with the words after it."""
    options = tyro.cli(StudyExportOptions, args=list(arguments), prog="pbrl label study export")
    with opened(options.place, writes=False) as (connection, study):
        options.out.parent.mkdir(parents=True, exist_ok=True)
        holds = options.holds or ("pairs" if study.config.kind in PAIR_KINDS else "graded")
        if options.out.suffix == ".npz" and holds == "record":
            record = feedback_record(connection, study, options.aggregate)
            record.save(options.out)
            what = f"{record.num_labelled} labels of {record.num_asked} queries"
        elif options.out.suffix == ".npz" and holds == "graded":
            what = f"{write_graded(connection, study, options.out)} {study.config.kind}s"
        elif options.out.suffix == ".npz":
            number = write_pairs(connection, study, options.out, options.aggregate)
            what = f"{number} labelled pairs"
        else:
            table = answer_table(connection, study)
            is_csv = options.out.suffix == ".csv"
            options.out.write_bytes(
                table_as_csv(table).encode() if is_csv else table_as_parquet(table)
            )
            what = f"{len(table)} answers"
    Console(soft_wrap=True).print(f"{options.out}: {what}", markup=False)
