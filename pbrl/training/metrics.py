"""Metrics of a run, written to a table, to TensorBoard and, on demand, to Weights & Biases."""

import csv
import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from pbrl.training.files import read_json, write_json, write_text

Value = float | int | bool | Tensor
_STEP = "step"


class MetricsLog:
    """Writes named numbers by step to `metrics.csv` and to the other places asked for.

    Args:
        folder: of the run.
        resume_step: the step the run goes on from; rows after it are dropped. None for a new run.
        tensorboard: write TensorBoard events to the folder.
        wandb: log to Weights & Biases, True or the name of the project.
        config: shown beside the metrics on Weights & Biases.

    Raises:
        ImportError: if `wandb` is asked for and not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        resume_step: int | None = None,
        tensorboard: bool = True,
        wandb: bool | str = False,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._table = MetricsTable(folder / "metrics.csv", resume_step=resume_step)
        self._events: SummaryWriter | None = None
        if tensorboard:
            # Steps that will be written again are hidden from the first pass on.
            purge_step = None if resume_step is None else resume_step + 1
            self._events = SummaryWriter(str(folder), purge_step=purge_step)
        self._wandb = _start_wandb(wandb, folder, config or {}) if wandb else None

    def write(self, step: int, values: Mapping[str, Value]) -> None:
        """Record numbers at a step; tensors of one element are read here and nowhere earlier."""
        numbers = {name: float(value) for name, value in values.items()}
        self._table.write(step, numbers)
        if self._events is not None:
            for name, number in numbers.items():
                self._events.add_scalar(name, number, step)
        if self._wandb is not None:
            self._wandb.log(numbers, step=step)

    def close(self) -> None:
        """Write out what is buffered."""
        self._table.close()
        if self._events is not None:
            self._events.close()
        if self._wandb is not None:
            self._wandb.finish()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class MetricsTable:
    """A CSV file that is valid after every row, also when new columns appear.

    Args:
        path: the file; rows that are there already stay.
        resume_step: drop rows after this step.

    Raises:
        ValueError: if the file is not such a table.
    """

    def __init__(self, path: Path, *, resume_step: int | None = None) -> None:
        self._path = path
        self._columns = [_STEP]
        if path.exists():
            rows = read_metrics(path)
            self._columns = list(rows[0]) if rows else self._columns
            limit = float("inf") if resume_step is None else resume_step
            self._rewrite([row for row in rows if float(row[_STEP]) <= limit])
        else:
            self._rewrite([])

    def write(self, step: int, numbers: Mapping[str, float]) -> None:
        """Append one row and hand it to the system."""
        new = [name for name in numbers if name not in self._columns]
        if new:
            self._file.close()
            self._columns += new
            self._rewrite(read_metrics(self._path))
        row = {_STEP: step, **{name: f"{number:.8g}" for name, number in numbers.items()}}
        self._file.write(_line([row.get(name, "") for name in self._columns]))
        self._file.flush()

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        lines = [_line(self._columns)]
        lines += [_line([row.get(name, "") for name in self._columns]) for row in rows]
        write_text(self._path, "".join(lines))
        self._file = self._path.open("a", encoding="utf-8", newline="")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the rows of a metrics table, the text of each cell by column.

    A last line without an end was half written when the process was killed and is left out.

    Raises:
        ValueError: if the file is not a metrics table.
    """
    text = path.read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1])))
    header = rows.pop(0) if rows else []
    if header[:1] != [_STEP] or any(len(row) != len(header) for row in rows):
        raise ValueError(f"{path} is not a table of metrics; its first column must be {_STEP!r}")
    return [dict(zip(header, row, strict=True)) for row in rows]


def _line(cells: list[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _start_wandb(project: bool | str, folder: Path, config: Mapping[str, Any]) -> Any:
    """Return a W&B run; a resumed run goes on in the same one."""
    try:
        wandb = importlib.import_module("wandb")
    except ModuleNotFoundError as error:
        raise ImportError(
            "logging to Weights & Biases needs the extra: pip install 'pbrl[wandb]'"
        ) from error
    name = "pbrl" if isinstance(project, bool) else project
    identity = folder / "wandb.json"
    known = read_json(identity)["id"] if identity.exists() else None
    run = wandb.init(project=name, id=known, resume="allow", dir=str(folder), config=dict(config))
    write_json(identity, {"project": name, "id": run.id})
    return run
