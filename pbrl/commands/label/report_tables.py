"""A report on labels as text and tables."""

import math
from dataclasses import dataclass, field

from pbrl.offline.labels.agreement import Agreement, Share
from pbrl.offline.labels.held_out import HeldOutAccuracy
from pbrl.offline.labels.summary import Counts, LabelSummary
from pbrl.training.tables import markdown


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """What was found, by file.

    Attributes:
        files: SHA-256 of each file, None for folders.
        summaries: what each holds; of scored segments only their number.
        agreement: of the first file with the second.
        held_out: accuracy on held-out labels, where the segments are there.
        wall_seconds: how long that took.
    """

    files: dict[str, str | None]
    summaries: dict[str, LabelSummary | int]
    agreement: Agreement | None = None
    held_out: dict[str, HeldOutAccuracy] = field(default_factory=dict)
    wall_seconds: float = 0.0


def report_text(report: LabelReport) -> str:
    """Return the tables of a report, with a sentence on what each means."""
    parts = []
    for name, summary in report.summaries.items():
        if isinstance(summary, LabelSummary):
            parts.append(f"{name}\n{_note(summary)}\n{counts_table(summary)}")
        else:
            parts.append(f"{name}\n{summary:,} segments with a score each")
    agreements = {}
    if report.agreement is not None:
        agreements["the two files"] = report.agreement
    for summary in report.summaries.values():
        agreements |= summary.between if isinstance(summary, LabelSummary) else {}
    if agreements:
        parts.append(
            "Agreement on pairs that both labelled; kappa is 0 for what chance would give.\n"
            + agreement_table(agreements)
        )
    if report.held_out:
        parts.append(
            "Accuracy of a reward model on labels held out, ties left out.\n"
            + held_out_table(report.held_out)
        )
    return "\n\n".join(parts)


def counts_table(summary: LabelSummary) -> str:
    """Return a table of what each annotator answered, and of all together."""
    header = ["annotator", "answers", "first", "second", "ties", "refusals", "share of second"]
    rows = [_counts_row(name, counts) for name, counts in summary.by_annotator.items()]
    if len(rows) > 1:
        rows.append(_counts_row("all", summary.total))
    return markdown(header, rows)


def agreement_table(agreements: dict[str, Agreement]) -> str:
    """Return a table of agreements by who is compared."""
    header = ["", "common", "both decided", "agreement", "kappa", "kappa with ties"]
    rows = [
        [
            name, f"{agreement.common:,}", f"{agreement.decided:,}", _share(agreement.agreement),
            _number(agreement.kappa), _number(agreement.kappa_with_ties),
        ]
        for name, agreement in agreements.items()
    ]  # fmt: skip
    return markdown(header, rows)


def held_out_table(accuracies: dict[str, HeldOutAccuracy]) -> str:
    """Return a table of held-out accuracies by file."""
    header = [
        "labels",
        "held out",
        "deviation",
        "learned from",
        "always one side",
        "splits",
    ]
    rows = [
        [
            name, f"{accuracy.mean:.3f}", f"{accuracy.std:.3f}", f"{accuracy.training:.3f}",
            f"{accuracy.majority:.3f}", f"{len(accuracy.accuracies)}",
        ]
        for name, accuracy in accuracies.items()
    ]  # fmt: skip
    return markdown(header, rows)


def _note(summary: LabelSummary) -> str:
    note = f"{summary.pairs:,} pairs of {summary.segments:,} segments"
    if summary.pending:
        note += f"; without an answer: {summary.pending:,}"
    if summary.same_segment:
        note += f"; of a segment with itself: {summary.same_segment:,}"
    if summary.repeated:
        note += f"; asked again: {summary.repeated:,}, "
        note += f"answered as before: {_share(summary.consistency)}"
    return "\n".join([note, *(f"note: {text}" for text in summary.notes)])


def _counts_row(name: str, counts: Counts) -> list[str]:
    numbers = (counts.answers, counts.first, counts.second, counts.ties, counts.skipped)
    return [name, *(f"{number:,}" for number in numbers), _share(counts.second_share)]


def _share(share: Share) -> str:
    if share.cases == 0:
        return "–"
    return f"{share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
