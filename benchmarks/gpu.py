"""Check and measure on a GPU, in one go, all that could not be without one.

    pip install -c constraints.txt -e '.[gpu,dev]'
    python benchmarks/gpu.py --bpref-checkout ../BPref --cpl-checkout ../cpl

Sections, in this order: `tests`, those marked `gpu`, without which nothing else counts (no update
waits for the device, graphs and compiled updates equal eager ones, MJX equals MuJoCo); `worlds`,
`updates` and `seeds`, judged by what is asked of a GPU; `table`, that of `speed.py --device cuda`;
`suite`, PEBBLE and QPA on walker-walk at the papers' size, with all seeds as one computation and in
the way of making updates that proved fastest, which takes hours and goes on where it was stopped.
`--device cpu --quick` tries the whole program where there is no GPU.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from rich.console import Console
from speed import gpu
from speed.gpu import GpuSetting
from speed.measure import Row
from speed.program import RESULTS, ROOT, chosen_of, circumstances, report, write_page, write_record
from speed.suite_together import lines, run_together

from pbrl.agents.recorded import Updates
from pbrl.reward_learning import RewardLearningConfig
from pbrl.training.config import TrainConfig
from pbrl.training.records import Records
from pbrl.training.suites import load_suite

SECTIONS = ("tests", "worlds", "updates", "seeds", "table", "suite")
MEASURED = ("worlds", "updates", "seeds")
STORED = RESULTS / "gpu.json"
SMALL = {"hidden_sizes": (16, 16), "batch_size": 8, "seeds": 2, "worlds": (2,), "rounds": 1}
SHORT = {
    "steps": 2_200,
    "seed_steps": 200,
    "updates_per_step": 0.02,
    "batch_size": 8,
    "eval_every": 2_200,
    "eval_episodes": 1,
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Check, measure, and write the figures and the page.

    Attributes:
        device: cuda, or cpu to try the program.
        sections: what is done; empty means all.
        quick: small sizes; nothing is written but where `output`, `page` and `runs` say.
        seeds: of the suite that are run; by default all, as many as fit into the GPU's memory.
        bpref_checkout: for the table, see speed.py.
        cpl_checkout: likewise.
        ipl_checkout: likewise.
        oppo_checkout: likewise.
        dtr_checkout: likewise.
        output: JSON file; benchmarks/speed/results/gpu.json when it is not given and all that is
            measured was, otherwise none.
        page: markdown page; docs/speed.md likewise.
        records: of the suite; benchmarks/results/online-gpu by default.
        runs: folders of its runs; runs/suites/online-gpu by default.
    """

    device: str = "cuda"
    sections: tuple[str, ...] = ()
    quick: bool = False
    seeds: int | None = None
    bpref_checkout: Path | None = None
    cpl_checkout: Path | None = None
    ipl_checkout: Path | None = None
    oppo_checkout: Path | None = None
    dtr_checkout: Path | None = None
    output: Path | None = None
    page: Path | None = None
    records: Path | None = None
    runs: Path | None = None


def main(options: Options) -> int:
    """Do what is chosen; 1 if a test failed or an aim is missed."""
    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit(
            f"no CUDA device for --device {options.device}: --device cpu --quick tries the program"
        )
    chosen = chosen_of(options.sections, SECTIONS)
    setting = GpuSetting(device=options.device)
    if options.quick:
        setting = replace(setting, **SMALL)
    if "tests" in chosen and _run("-m", "pytest", "-m", "gpu", "-q", str(ROOT / "tests")):
        print("a test failed: what follows would say nothing")
        return 1
    rows = measure(setting, chosen, options)
    if "table" in chosen:
        _table(options)
    if "suite" in chosen:
        _suite(options, chosen_way(rows, options))
    return int(not all(row.is_met for row in best(rows)))


def measure(setting: GpuSetting, chosen: tuple[str, ...], options: Options) -> list[Row]:
    """Measure what is asked of a GPU, print it and write it down."""
    load, rows = os.getloadavg()[0], []
    sections: dict[str, Callable[[], list[Row]]] = {
        "worlds": lambda: gpu.worlds(setting),
        "updates": lambda: gpu.updates(setting),
        "seeds": lambda: gpu.seeds(setting, chosen_way(rows, options)),
    }
    for name in MEASURED:
        if name in chosen:
            print(f"measuring {name}", flush=True)
            rows += sections[name]()
    if not rows:
        return rows
    Console(width=180).print(report(rows, options.device))
    record = circumstances(torch.get_num_threads(), setting.rounds, load)
    record |= {"device": options.device, "rows": [vars(row) for row in rows]}
    output, page = options.output, options.page
    if not options.quick and set(MEASURED) <= set(chosen):
        output, page = output or STORED, page or ROOT / "docs" / "speed.md"
    if output is not None:
        write_record(record, output)
    if page is not None:
        write_page(record, page, "gpu")
    return rows


def fastest(rows: list[Row]) -> Updates:
    """Return the way of making float32 updates that took least time; as they are if none did."""
    found = {
        way: row.milliseconds
        for row in rows
        for way, _, precision in [row.contender.partition(", ")]
        if row.section == "updates" and precision == "float32" and row.milliseconds is not None
    }
    ways: tuple[Updates, ...] = ("eager", "compiled", "graph")
    return min((way for way in ways if way in found), key=lambda way: found[way], default="eager")


def chosen_way(rows: list[Row], options: Options) -> Updates:
    """Return the way of making updates that is fastest by these rows, or by those stored."""
    measured = [row for row in rows if row.section == "updates"]
    return fastest(measured or stored_rows(options))


def stored_rows(options: Options) -> list[Row]:
    """Return the rows of an earlier call on a device of this kind, if there were any."""
    path = options.output or STORED
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if record.get("device") != options.device:
        return []
    return [Row(**row) for row in record["rows"]]


def best(rows: list[Row]) -> list[Row]:
    """Return the fastest of the judged rows of each section, which an aim is met by."""
    judged = [row for row in rows if row.is_met is not None]
    sections = dict.fromkeys(row.section for row in judged)
    return [
        max((row for row in judged if row.section == section), key=lambda row: bool(row.is_met))
        for section in sections
    ]


def _table(options: Options) -> None:
    words = ["--device", options.device, *(["--quick", "--no-compiles"] if options.quick else [])]
    for name in ("bpref", "cpl", "ipl", "oppo", "dtr"):
        checkout = getattr(options, f"{name}_checkout")
        words += [] if checkout is None else [f"--{name}-checkout", str(checkout)]
    if _run(str(ROOT / "benchmarks" / "speed.py"), *words):
        raise SystemExit("speed.py failed")


def _suite(options: Options, updates: Updates) -> None:
    suite = load_suite(ROOT / "benchmarks" / "suites" / "online-gpu.toml")
    suite = replace(suite, seeds=suite.seeds[: options.seeds])
    records = Records(options.records or ROOT / "benchmarks" / "results" / suite.name)
    folder = options.runs or ROOT / "runs" / "suites" / suite.name

    def change(config: TrainConfig) -> TrainConfig:
        config = replace(config, updates=updates)
        return _short(replace(config, device=options.device)) if options.quick else config

    for line in lines(run_together(suite, records, folder, change)):
        print(line)


def _short(config: TrainConfig) -> TrainConfig:
    """Return a run of seconds."""
    preferences = config.preferences
    assert preferences is not None  # every method of the suite learns from them
    schedule = replace(preferences.schedule, budget=4, session_size=4, first_step=1_000)
    learning = RewardLearningConfig(passes=1)
    return replace(
        config,
        preferences=replace(preferences, schedule=schedule, learning=learning, warm_up_updates=1),
        sac=replace(config.sac, hidden_sizes=(8, 8)),
        **SHORT,
    )


def _run(*words: str) -> int:
    return subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
