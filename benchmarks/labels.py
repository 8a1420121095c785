"""Measure how good published labels are: agreement of people with scripts, and held-out accuracy.

    python benchmarks/labels.py FOLDER

FOLDER holds the published files: `human_labels/clean_offline_rlhf` with the two folders of labels
of Clean-Offline-RLHF, and `human_pairs` with the pairs that IPL's repository made from the labels
of Preference Transformer. Writes one JSON record per measurement, and puts the tables made from
them into the page. The reward models take some minutes on one core.
"""

import json
from contextlib import chdir
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from pbrl.commands.label.report import ReportOptions, make_report, record_of
from pbrl.offline.labels import read_labels
from pbrl.offline.labels.agreement import agree
from pbrl.training.files import plain, write_json, write_text
from pbrl.training.machine import versions
from pbrl.training.suite_report import replace_between_markers
from pbrl.training.tables import markdown

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "benchmarks" / "results" / "offline-cpu-labels"
CROWD = Path("human_labels/clean_offline_rlhf/crowdsource_human_labels")
SCRIPT = Path("human_labels/clean_offline_rlhf/generated_fake_labels")
PAIRS = Path("human_pairs")
SECTIONS = ("label-agreement", "held-out-labels")  # of the page
TASKS = ("hopper-medium-expert-v2", "walker2d-medium-expert-v2")


def main(
    data: Annotated[Path, tyro.conf.Positional],
    *,
    records: Path = RECORDS,
    page: Path = ROOT / "docs" / "labels.md",
    splits: int = 10,
    only_tables: bool = False,
) -> None:
    """Measure, write the records, and put their tables into the page.

    Args:
        data: folder of the published files.
        records: where the records go.
        page: markdown page with the markers.
        splits: random splits per reward model.
        only_tables: make the tables of the records that are there.
    """
    records = records.resolve()
    if not only_tables:
        records.mkdir(parents=True, exist_ok=True)
        with chdir(data):  # so that the records name the files as everybody has them
            write_json(records / "agreement.json", measure_agreement())
            for task in TASKS:
                write_json(records / f"{task}.json", measure_held_out(task, splits))
    text = page.read_text(encoding="utf-8")
    agreement = json.loads((records / "agreement.json").read_text(encoding="utf-8"))
    reports = [json.loads((records / f"{task}.json").read_text(encoding="utf-8")) for task in TASKS]
    tables = (agreement_table(agreement), held_out_table(reports))
    for name, table in zip(SECTIONS, tables, strict=True):
        text = replace_between_markers(text, name, table)
        Console(soft_wrap=True).print(table, markup=False, highlight=False)
    write_text(page, text)


def measure_agreement() -> dict[str, Any]:
    """Return how far the crowd's labels agree with the scripted ones, task by task."""
    tasks = {}
    for folder in sorted(SCRIPT.iterdir()):
        task = folder.name.removesuffix("_fake_labels")
        crowd, script = read_labels(CROWD / f"{task}_human_labels"), read_labels(folder)
        ties = {"crowd_ties": int((crowd.labels == 0.5).sum())}
        ties["script_ties"] = int((script.labels == 0.5).sum())
        agreement = plain(agree(crowd, script))
        tasks[task] = ties | (agreement if agreement["common"] else {"common": 0})
    return {"schema": 1, "kind": "label-agreement", "tasks": tasks, "versions": versions()}


def measure_held_out(task: str, splits: int) -> dict[str, Any]:
    """Return the report on the human and the scripted labels of the same pairs."""
    human, script = (PAIRS / task / f"num100_{who}_train.npz" for who in ("human", "script"))
    options = ReportOptions(labels=human, other=script, splits=splits)
    return record_of(make_report(options), options)


def agreement_table(record: dict[str, Any]) -> str:
    """Return the table of agreement by task, the highest kappa first."""
    compared = {task: found for task, found in record["tasks"].items() if found["common"]}
    rows = [
        [
            task, str(found["crowd_ties"]), str(found["script_ties"]), str(found["decided"]),
            f"{found['agreement']['value']:.3f}",
            f"[{found['agreement']['low']:.3f}, {found['agreement']['high']:.3f}]",
            f"{found['kappa']:.3f}",
        ]
        for task, found in sorted(compared.items(), key=lambda item: -item[1]["kappa"])
    ]  # fmt: skip
    header = ["task", "crowd ties", "script ties", "both decided", "agreement", "95 %", "kappa"]
    others = ", ".join(task for task in record["tasks"] if task not in compared)
    return f"{markdown(header, rows)}\n\nNo pairs in common: {others}."


def held_out_table(reports: list[dict[str, Any]]) -> str:
    """Return the table of held-out accuracy by file."""
    header = ["labels", "held out", "deviation", "learned from", "always one side", "splits"]
    rows = []
    for report in reports:
        for file, found in report["held_out"].items():
            path = Path(file)
            who = "human" if "human" in path.stem else "script"
            numbers = (found[name] for name in ("mean", "std", "training", "majority"))
            cells = [f"{number:.3f}" for number in numbers]
            rows.append([f"{path.parent.name}, {who}", *cells, str(len(found["accuracies"]))])
    return markdown(header, rows)


if __name__ == "__main__":
    tyro.cli(main)
