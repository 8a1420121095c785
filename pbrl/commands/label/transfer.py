"""`pbrl label transfer`: labels for a task that has none, from those of another."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from pbrl.offline.transfer import TransferConfig
from pbrl.training.label_transfer import Sources, transfer_files


@dataclass(frozen=True, kw_only=True)
class TransferOptions:
    """Carry labels from a source dataset to a target dataset of another task (PEARL).

    Segments of the two correspond by their distances within each task, so that states and actions
    may differ in size and meaning. The labels are soft and can be learned from like any others,
    best by `pbrl fit --agent pearl`. A .json beside them says what they rest on and how right they
    are where the target's true reward is known, a .png shows the plan.

    Attributes:
        source: dataset with labelled segments.
        target: dataset without labels.
        labels: file or folder of the source's labels; not needed where the dataset holds them.
        out: the labels, .npz.
        score: which score to read from a CPL file; the regret rl_sum by default.
        transfer: how the tasks are aligned.
        seed: of everything that is drawn.
    """

    source: Annotated[str, tyro.conf.Positional]
    target: Annotated[str, tyro.conf.Positional]
    labels: str | None = None
    out: Path = Path("transferred.npz")
    score: str | None = None
    transfer: Annotated[TransferConfig, tyro.conf.arg(name="")] = field(
        default_factory=TransferConfig
    )
    seed: int = 0


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label transfer` with the words after it.

    Raises:
        ValueError: if datasets and labels do not serve.
    """
    options = tyro.cli(
        TransferOptions,
        args=list(arguments),
        prog="pbrl label transfer",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    sources = Sources(options.source, options.labels, options.target, options.score)
    report = transfer_files(sources, options.transfer, options.out, seed=options.seed)
    for doubt in report["warnings"]:
        warnings.warn(doubt, RuntimeWarning, stacklevel=1)
    Console(soft_wrap=True).print(summary(report, options.out), markup=False, highlight=False)


def summary(report: dict[str, Any], out: Path) -> str:
    """Return in a few lines what was written."""
    counts = report["counts"]
    lines = [
        f"{out}: {counts['labels']:,} labels of {counts['target_segments']:,} segments by "
        f"{counts['rounds']:,} alignments, for the dataset {report['dataset']['name']}"
    ]
    if counts["source_labels_used"] is not None:
        lines.append(
            f"from {counts['source_labels_used']:,} of the source's {counts['source_labels']:,} "
            "labels or scores"
        )
    if report["accuracy"] is not None:
        lines.append(
            f"right by the target's true returns: {report['accuracy']:.1%}; of all pairs of the "
            f"segments {report['accuracy_of_all']:.1%}"
        )
    histogram = " ".join(str(count) for count in report["confidence_histogram"])
    lines.append(f"pairs by confidence |2 y - 1|, by tenths: {histogram}")
    if report["agreement_of_rounds"] is not None:
        agreement = report["agreement_of_rounds"]
        lines.append(f"correlation of the labels of two alignments: {agreement:+.2f}")
    return "\n".join(lines)
