"""Measure how rates change as environments, members, seeds, labels and stored steps become more.

    python benchmarks/growth.py
    python benchmarks/growth.py --axes labels --name recording --update

Writes the curves with their slopes as JSON, a figure, and the tables of docs/scaling.md; the second
measures a part anew and keeps the rest. Rates are by processor time of one thread, which another
program's share is not part of.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from speed.curves import Measured, measure_curve
from speed.growth import AXES, curves, memory
from speed.plan import HEADER as PLAN_HEADER
from speed.plan import Rates, million_labels, thousand_machines
from speed.program import RESULTS, ROOT, chosen_of, circumstances, write_record

from pbrl.training.plots import save_figure
from pbrl.training.suite_report import put_on_page
from pbrl.training.tables import markdown

HEADER = ("more", "what", "from", "to", "rate there", "and there", "slope")
MEMORY_HEADER = ("one", "bytes", "measured over")
# Okabe and Ito's colours, told apart by the colour-blind; line styles tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (2, 1)))
PANELS = 3


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure, and write the figures, the drawing and the page.

    Attributes:
        threads: torch threads.
        rounds: turns that every size gets; one is enough for slopes.
        axes: which of them; empty means all.
        name: beginning of the names of the curves that are measured; empty means all.
        update: put what is measured into the earlier record, whose circumstances and bytes stay.
        output: JSON file; benchmarks/speed/results/growth-THREADS.json when it is not given and
            everything was measured or is an update, otherwise none.
        figure: file of the drawing; docs/figures/growth.svg likewise.
        page: markdown page; docs/scaling.md likewise.
    """

    threads: int = 1
    rounds: int = 1
    axes: tuple[str, ...] = ()
    name: str = ""
    update: bool = False
    output: Path | None = None
    figure: Path | None = None
    page: Path | None = None


def main(options: Options) -> None:
    """Measure what is chosen and write it down."""
    chosen = chosen_of(options.axes, AXES)
    torch.set_num_threads(options.threads)
    load = os.getloadavg()[0]
    found = []
    for curve in curves(chosen, options.name):
        print(f"measuring {curve.axis}: {curve.name}", flush=True)
        found.append(measure_curve(curve, options.rounds))
        print(f"  slope {found[-1].slope:+.2f}", flush=True)
    output, figure, page = options.output, options.figure, options.page
    if output is None and (options.update or not (options.axes or options.name)):
        output = RESULTS / f"growth-{options.threads}.json"
        figure = figure or ROOT / "docs" / "figures" / "growth.svg"
        page = page or ROOT / "docs" / "scaling.md"
    if options.update and output is not None:
        record = updated(json.loads(output.read_text(encoding="utf-8")), found)
    else:
        record = circumstances(options.threads, options.rounds, load) | {
            "curves": [vars(curve) for curve in found],
            "memory": memory(),
        }
    if output is not None:
        write_record(record, output)
    if figure is not None:
        save_figure(draw([Measured(**curve) for curve in record["curves"]]), figure)
    if page is not None:
        write_page(record, page)


def updated(record: Mapping[str, Any], found: Sequence[Measured]) -> dict[str, Any]:
    """Return a record with curves measured later, in the place of earlier ones or beside them."""
    by_name = {(curve["axis"], curve["name"]): curve for curve in record["curves"]}
    by_name |= {(curve.axis, curve.name): vars(curve) for curve in found}
    ordered = sorted(by_name.values(), key=lambda curve: list(AXES).index(curve["axis"]))
    names = {curve.name for curve in found} | set(record.get("measured_later", ()))
    return {**record, "curves": ordered, "measured_later": sorted(names)}


def draw(found: Sequence[Measured]) -> Figure:
    """Return one panel per axis with its curves, the slopes named beside them."""
    axes = list(dict.fromkeys(curve.axis for curve in found))
    columns = min(PANELS, len(axes))
    rows = -(-len(axes) // columns)
    figure = Figure(figsize=(4.6 * columns, 4.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, axis in zip(panels, axes, strict=False):
        _draw_panel(panel, axis, [curve for curve in found if curve.axis == axis])
    for panel in panels[len(axes) :]:
        panel.set_axis_off()
    return figure


def _draw_panel(panel: Axes, axis: str, found: Sequence[Measured]) -> None:
    for curve, colour, line in zip(found, COLOURS, LINES, strict=False):
        label = f"{curve.name}, {curve.unit}: slope {curve.slope:+.2f}"
        panel.loglog(curve.sizes, curve.rates, color=colour, ls=line, marker="o", ms=3, label=label)
    panel.set_xlabel(axis)
    panel.set_ylabel("per second of one thread")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(color="#dddddd", linewidth=0.6)
    panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=7, frameon=False)


def write_page(record: Mapping[str, Any], page: Path) -> None:
    """Put the tables of a record into a markdown page; what else stands there stays."""
    found, load = record["machine"], record["load_average"]
    measured = [Measured(**curve) for curve in record["curves"]]
    packages = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    rows = [
        (
            curve.axis,
            curve.name,
            f"{curve.sizes[0]:,}",
            f"{curve.sizes[-1]:,}",
            f"{_number(curve.rates[0])} {curve.unit}",
            f"{_number(curve.rates[-1])} {curve.unit}",
            f"{curve.slope:+.2f}",
        )
        for curve in measured
    ]
    held = [
        (name, f"{value['bytes']:,.0f}", f"{value['of']:,.0f}")
        for name, value in record["memory"].items()
    ]
    body = "\n\n".join(
        [
            f"{found['cpu']}, {found['cores']} cores, {record['threads']} torch thread(s), median "
            f"of {record['rounds']} rounds; programs that wanted a core, this one among them: "
            f"{load[0]:.1f} at the start and {load[1]:.1f} at the end. {packages}.",
            markdown(HEADER, rows),
            markdown(MEMORY_HEADER, held),
        ]
    )
    if later := "; ".join(record.get("measured_later", ())):
        body = f"{body}\n\nMeasured later than the rest: {later}."
    put_on_page(page, f"growth-{record['threads']}", body, heading="# Scaling\n")
    if {curve.axis for curve in measured} == set(AXES):
        parts = {"labels": million_labels, "machines": thousand_machines}
        for name, rows_of in parts.items():
            table = markdown(PLAN_HEADER, rows_of(Rates(measured), record["memory"]))
            put_on_page(page, f"plan-{name}-{record['threads']}", table, heading="# Scaling\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
