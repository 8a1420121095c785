"""Print one table for this machine: what an update costs, made in every way, and what it must cost.

    python benchmarks/speed.py --bpref-checkout ../BPref --cpl-checkout ../cpl \
        --ipl-checkout ../inverse-preference-learning --oppo-checkout ../OPPO --dtr-checkout ../DTR

For every method the update of its official program, the same in plain torch, that of
stable-baselines3 where it has one, ours, and ours through torch.compile take turns within one
process; ratios are to ours. Beside them stands the least time that the update's operations and
bytes can take, by the measured peaks of the machine (`speed/roofline.py`), and how much of it ours
reaches. A second table holds environment steps per second of every back end. On a CPU times are of
the processor, which another program's share is not part of; with `--device cuda` they go by the
clock. The programs beside this one, `speed_online.py` and so on, look closer and judge aims.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console
from rich.table import Table
from speed.comparisons import METHODS, Setting
from speed.one_table import (
    ENVIRONMENT_HEADER,
    environment_rows,
    environment_table,
    measure_update,
    missing,
    update_table,
    write_page,
)
from speed.program import RESULTS, ROOT, chosen_of, circumstances, write_record
from speed.roofline import measure_peaks

ENVIRONMENTS = "environments"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Measure, print the tables, write the figures and the page.

    Attributes:
        device: where updates run: cpu or cuda.
        threads: torch threads.
        rounds: turns that every contender gets; heavy updates get one.
        sections: what is measured, methods or "environments"; empty means all.
        quick: one round, and no more than two cores do in a minute or two.
        compiles: also try torch.compile.
        bpref_checkout: folder of github.com/rll-research/BPref, for SAC and the reward.
        cpl_checkout: folder of github.com/jhejna/cpl.
        ipl_checkout: folder of github.com/jhejna/inverse-preference-learning, for IPL and IQL.
        oppo_checkout: folder of github.com/bkkgbkjb/OPPO.
        dtr_checkout: folder of github.com/TU2021/DTR.
        output: JSON file; benchmarks/speed/results/all-DEVICE-THREADS.json when it is not given and
            all was measured, otherwise none.
        page: markdown page; docs/speed.md when neither it nor `output` is given and all was
            measured, otherwise none.
    """

    device: str = "cpu"
    threads: int = 1
    rounds: int = 3
    sections: tuple[str, ...] = ()
    quick: bool = False
    compiles: bool = True
    bpref_checkout: Path | None = None
    cpl_checkout: Path | None = None
    ipl_checkout: Path | None = None
    oppo_checkout: Path | None = None
    dtr_checkout: Path | None = None
    output: Path | None = None
    page: Path | None = None

    def setting(self) -> Setting:
        """Return what the comparisons are made with."""
        names = ("bpref", "cpl", "ipl", "oppo", "dtr")
        checkouts = {name: getattr(self, f"{name}_checkout") for name in names}
        return Setting(device=self.device, checkouts=checkouts, quick=self.quick)


def main(options: Options) -> None:
    """Measure what is chosen and write it down."""
    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit(f"no CUDA device for --device {options.device}; use --device cpu")
    chosen = chosen_of(options.sections, (*METHODS, ENVIRONMENTS))
    torch.set_num_threads(options.threads)
    load, rounds = os.getloadavg()[0], 1 if options.quick else options.rounds
    peaks = measure_peaks(options.device)
    updates, environments = [], []
    for name in chosen:
        print(f"measuring {name}", flush=True)
        if name == ENVIRONMENTS:
            environments = environment_rows(rounds, quick=options.quick)
            continue
        updates += [
            measure_update(found, peaks, options.device, rounds, compiles=options.compiles)
            for found in METHODS[name](options.setting())
        ]
    show(*update_table(updates))
    print(missing(updates))
    show(ENVIRONMENT_HEADER, environment_table(environments))
    record = circumstances(options.threads, rounds, load) | {
        "device": options.device,
        "peaks": vars(peaks),
        "updates": [vars(row) for row in updates],
        "environments": [vars(row) for row in environments],
    }
    output, page = options.output, options.page
    if output is None and not options.sections and not options.quick:
        output = RESULTS / f"all-{options.device}-{options.threads}.json"
        page = page or ROOT / "docs" / "speed.md"
    if output is not None:
        write_record(record, output)
    if page is not None:
        write_page(record, page)
        print(f"wrote {page}")


def show(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print a table, if it has rows."""
    if rows:
        table = Table(*header)
        for row in rows:
            table.add_row(*row)
        Console(width=180).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
