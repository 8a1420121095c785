"""`pbrl label study report`: progress, people and their agreement."""

from collections.abc import Sequence

import tyro
from rich.console import Console

from pbrl.commands.label.study.opened import StudyOptions, opened
from pbrl.offline.labels.agreement import Share
from pbrl.queries.human.agreement import Coefficient
from pbrl.queries.human.report import PersonReport, StudyReport, study_report
from pbrl.training.tables import markdown

HEADER = ["", "answers", "can't tell", "median s", "chose left", "gold right", "same again"]


def main(arguments: Sequence[str]) -> None:
    """Run `pbrl label study report` with the words after it."""
    options = tyro.cli(StudyOptions, args=list(arguments), prog="pbrl label study report")
    with opened(options.place, writes=False) as (connection, study):
        report = study_report(connection, study)
    console = Console(soft_wrap=True)
    console.print(f"{study.name} ({study.state}): {_progress(report)}", markup=False)
    console.print(markdown(HEADER, [_row(one) for one in report.people]), markup=False)
    if report.kappa is not None:
        console.print(f"Cohen's kappa: {_coefficient(report.kappa)}", markup=False)
    if report.alpha is not None:
        console.print(f"Krippendorff's alpha: {_coefficient(report.alpha)}", markup=False)
        console.print(f"conflicts: {report.num_conflicts}", markup=False)


def _progress(report: StudyReport) -> str:
    choices = ", ".join(f"{number} {words}" for words, number in report.choices.items())
    return (
        f"{report.num_answers} of {report.num_wanted} answers, {report.num_done} of "
        f"{report.num_queries} queries done" + (f"; {choices}" if choices else "")
    )


def _row(one: PersonReport) -> list[str]:
    seconds = "" if one.median_seconds is None else f"{one.median_seconds:.1f}"
    shares = [_share(share) for share in (one.left, one.gold, one.consistency)]
    return [one.person.name, str(one.num_answers), str(one.num_cannot_tell), seconds, *shares]


def _share(share: Share) -> str:
    if share.cases == 0:
        return ""
    return f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}] of {share.cases}"


def _coefficient(found: Coefficient) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}] on {found.num_items}"
