"""One row per method: the time of an update made in every way, beside the least it can take."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.exc import TorchDynamoException

from pbrl.agents.recorded import make_update
from pbrl.training.suite_report import put_on_page
from pbrl.training.tables import markdown
from speed import environments, physics
from speed.comparisons import Comparison
from speed.measure import Row, Times, repeated, synchronize, time_in_turns, warmed
from speed.program import where
from speed.roofline import Peaks, cost_of

OURS, COMPILED, GRAPH = "ours", "ours compiled", "ours from a graph"
CONTENDERS = ("official", "plain torch", "stable-baselines3", OURS, COMPILED, GRAPH)
HEADER = (
    "update",
    "case",
    *(f"{name}, ms" for name in CONTENDERS),
    "roofline, ms",
    "reached",
    "aims",
)
TIMES_OTHERS, SHARE = 2.0, 0.85  # where overhead binds, and where arithmetic does
BACK_ENDS = {  # contenders of batched physics
    "dm_control": "official",
    "envpool": "envpool",
    "pbrl rollout": "mujoco.rollout, pbrl",
    "pbrl mjx": "mjx, pbrl",
}
ENVIRONMENT_HEADER = (
    *("environments, steps/s", "official", "official, pbrl", "envpool", "envpool, pbrl"),
    *("mujoco.rollout, pbrl", "mjx, pbrl"),
)


@dataclass(frozen=True, kw_only=True)
class UpdateRow:
    """One update.

    Attributes:
        method: whose.
        case: its size.
        milliseconds: by contender, on a CPU of processor time and on a GPU by the clock.
        gigaflops: billions of floating-point operations of its products.
        megabytes: that it has to move.
        bound: least milliseconds by the roofline.
        bound_by: "products" or "memory".
        notes: why a contender is missing.
    """

    method: str
    case: str
    milliseconds: dict[str, float]
    gigaflops: float
    megabytes: float
    bound: float
    bound_by: str
    notes: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        """Return the text of the table's columns: times, with their ratio to ours in brackets."""
        ours = self.milliseconds[OURS]
        times = [self._time(name, ours) for name in CONTENDERS]
        reached = f"{self.bound / ours:.0%}, {self.bound_by}"
        return (self.method, self.case, *times, _number(self.bound), reached, self._aims())

    @property
    def is_fast(self) -> bool | None:
        """Whether ours takes half the time of the official update, or of plain torch without it."""
        other = self.milliseconds.get("official", self.milliseconds.get("plain torch"))
        return None if other is None else other >= TIMES_OTHERS * self.milliseconds[OURS]

    @property
    def is_near(self) -> bool:
        """Whether ours reaches its share of the roofline."""
        return self.bound >= SHARE * self.milliseconds[OURS]

    def _aims(self) -> str:
        met = {f"{TIMES_OTHERS:g}x": self.is_fast, f"{SHARE:.0%}": self.is_near}
        return ", ".join(
            f"{aim}: {'yes' if is_met else 'no'}"
            for aim, is_met in met.items()
            if is_met is not None
        )

    def _time(self, name: str, ours: float) -> str:
        time = self.milliseconds.get(name)
        if time is None:
            own = [note for note in self.notes if note.startswith(f"{name}: ")]
            tried = name in (COMPILED, GRAPH) and any(
                not note.startswith(f"{name}: not ") for note in own
            )
            return "fails" if tried else ""
        return _number(time) if name == OURS else f"{_number(time)} ({time / ours:.2f}x)"


def _number(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def measure_update(
    comparison: Comparison, peaks: Peaks, device: str, rounds: int, *, compiles: bool
) -> UpdateRow:
    """Time every way to make an update, in turns, and count what it costs."""
    agent, step = comparison.make()
    contenders = {**comparison.others, OURS: repeated(step)}
    notes = list(comparison.notes)
    untried = why_not_compiled(comparison, agent, device, compiles=compiles)
    if untried:
        notes.append(f"{COMPILED}: {untried}")
    else:
        try:
            contenders[COMPILED] = repeated(compiled(comparison))
        except TorchDynamoException as error:
            notes.append(f"{COMPILED}: {type(error).__name__}")
    if device != "cpu" and getattr(agent, "is_recordable", False):
        try:
            contenders[GRAPH] = repeated(recorded(comparison))
        except RuntimeError as error:
            notes.append(f"{GRAPH}: {' '.join(str(error).split())[:200]}")
    waiting = {name: _waiting(run, device) for name, run in contenders.items()}
    times = time_in_turns(waiting, 1 if comparison.is_heavy else rounds)
    cost = cost_of(step, agent.state_dict, comparison.batch, comparison.num_steps)
    return UpdateRow(
        method=comparison.method,
        case=comparison.case,
        milliseconds={name: 1e3 * _seconds(found, device) for name, found in times.items()},
        gigaflops=cost.flops / 1e9,
        megabytes=cost.num_bytes / 1e6,
        bound=1e3 * cost.bound(peaks),
        bound_by=cost.bound_by(peaks),
        notes=notes,
    )


def why_not_compiled(comparison: Comparison, agent: object, device: str, *, compiles: bool) -> str:
    """Say why torch.compile is not tried on an update; nothing if it is."""
    if not hasattr(agent, "update"):
        return "not an agent's update"
    if not compiles:
        return "not asked for"
    if device == "cpu" and not comparison.compiles:
        return "not tried on a CPU, where it takes minutes"
    return ""


def compiled(comparison: Comparison) -> Callable[[], object]:
    """Return our update through torch.compile, compiled already.

    Raises:
        TorchDynamoException: if it cannot be compiled.
    """
    torch.compiler.reset()
    agent, step = comparison.make()
    agent.update = torch.compile(agent.update)
    return warmed(step)


def recorded(comparison: Comparison) -> Callable[[], object]:
    """Return our update played back from graphs, recorded already.

    Raises:
        RuntimeError: if it cannot be recorded.
    """
    agent, step = comparison.make()
    agent.update = make_update(agent, "graph")
    return warmed(step)


def _waiting(run: Callable[[int], object], device: str) -> Callable[[int], None]:
    def wait(repetitions: int) -> None:
        run(repetitions)
        synchronize(device)

    return wait


def _seconds(times: Times, device: str) -> float:
    return times.cpu if device == "cpu" else times.wall


def environment_rows(rounds: int, *, quick: bool) -> list[Row]:
    """Time steps of every back end that is installed, see `environments` and `physics`."""
    ids = environments.IDS[:1] if quick else environments.IDS
    tasks = physics.TASKS[:1] if quick else physics.TASKS
    num_envs = environments.COUNTS[-1]
    rows = [
        row
        for backend in environments.backends()
        for env_id in ids
        for row in environments.compare(backend, env_id, num_envs, rounds)
    ]
    return rows + [row for task in tasks for row in physics.compare(task, rounds)]


def environment_table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return one line per task and number of environments with the steps per second of all."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        task, by = _place(row)
        rate = row.note.split(" steps/s")[0]  # which begins the note
        found.setdefault(task, {}).setdefault(by, rate)
    return [
        (task, *(rates.get(by, "") for by in ENVIRONMENT_HEADER[1:]))
        for task, rates in found.items()
    ]


def _place(row: Row) -> tuple[str, str]:
    """Return the line and the column of a row of `environments` or of `physics`."""
    if row.contender in BACK_ENDS:
        return f"dmc/{row.case}", BACK_ENDS[row.contender]
    env_id, backend, number = row.case.split()
    return f"{env_id} {number}", backend if row.contender == "bare" else f"{backend}, pbrl"


def missing(updates: list[UpdateRow]) -> str:
    """Say what is not in the table and why; nothing if all is."""
    notes = [f"{row.method}, {note}" for row in updates for note in row.notes]
    return f"Not measured: {'; '.join(dict.fromkeys(notes))}." if notes else ""


def update_table(updates: Sequence[UpdateRow]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Return header and rows of the table, without the columns of contenders that none has."""
    rows = [row.cells() for row in updates]
    columns = zip(*rows, strict=True)
    kept = [at for at, column in enumerate(columns) if any(column)] or range(len(HEADER))
    return [HEADER[at] for at in kept], [[row[at] for at in kept] for row in rows]


def judged(updates: list[UpdateRow]) -> str:
    """Say how many updates meet each aim."""
    compared = [row.is_fast for row in updates if row.is_fast is not None]
    return (
        f"Aims: {TIMES_OTHERS:g}x the official update, or plain torch where there is none, which "
        f"{sum(compared)} of {len(compared)} meet; {SHARE:.0%} of the roofline, which "
        f"{sum(row.is_near for row in updates)} of {len(updates)} meet. The first counts where "
        "overhead binds, the second where arithmetic does."
    )


def write_page(record: Mapping[str, Any], page: Path) -> None:
    """Put the table of a record into a markdown page, between markers of its device."""
    found, peaks, load = record["machine"], Peaks(**record["peaks"]), record["load_average"]
    updates = [UpdateRow(**row) for row in record["updates"]]
    packages = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    body = [
        f"{where(record)}, {found['cores']} cores, {record['threads']} torch thread(s), median of "
        f"at most {record['rounds']} rounds, {peaks.flops / 1e9:,.0f} GFLOP/s and "
        f"{peaks.bandwidth / 1e9:,.1f} GB/s at best; programs that wanted a core, this one among "
        f"them: {load[0]:.1f} at the start and {load[1]:.1f} at the end. {packages}.",
        markdown(*update_table(updates)),
        judged(updates),
        missing(updates),
    ]
    if record["environments"]:
        rows = [Row(**row) for row in record["environments"]]
        body.append(markdown(ENVIRONMENT_HEADER, environment_table(rows)))
    marker = f"speed-all-{record['device']}-{record['threads']}"
    body_text = "\n\n".join(part for part in body if part)
    put_on_page(page, marker, body_text, heading="# Speed\n")
