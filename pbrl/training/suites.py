"""Benchmark suites as data: which runs they consist of."""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pbrl.training.decode import decode
from pbrl.training.plots import ORACLES
from pbrl.training.result import CONTROLS

Option = bool | int | float | str | tuple[int, ...]
_UNFIT = re.compile(r"[^-.%+\w]+")  # characters that a file name had better not have
_KIND = re.compile(r"[a-z0-9]{2,}:")  # what is named, as minari:, is looked for by its loader


@dataclass(frozen=True, kw_only=True)
class Task:
    """An environment of a suite, or a dataset.

    Attributes:
        env: environment id of online runs (`pbrl train`); or else
        dataset: what offline runs (`pbrl fit`) learn from.
        labels: file or folder of labels, if the dataset does not hold them. `{seed}` in it stands
            for the seed of a run, where each learns from labels of its own.
        name: what the records call it; by default the environment id or, offline, what the dataset
            calls itself. Needed where a dataset is there twice, with other labels.
        options: of `pbrl train` or `pbrl fit` for every run on it, without the leading dashes.
        label_options: those for agents that learn from labels, which are all but the oracle.
        group: methods of the same group run on it, and no others.
        seeds: which of the suite's; by default all.
        origin: how to get the dataset, said where it is not there.
    """

    env: str | None = None
    dataset: str | None = None
    labels: str | None = None
    name: str = ""
    group: str = ""
    seeds: tuple[int, ...] = ()
    origin: str = ""
    options: dict[str, Option] = field(default_factory=dict)
    label_options: dict[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.env is None) == (self.dataset is None):
            raise ValueError(
                "a task has either an env, to learn online, or a dataset, to learn offline, got "
                f"{self.env!r} and {self.dataset!r}"
            )
        if self.labels is not None and self.dataset is None:
            raise ValueError(f"labels {self.labels!r} of a task belong to a dataset, got none")


@dataclass(frozen=True, kw_only=True)
class Method:
    """An agent of a suite.

    Attributes:
        agent: name of the agent.
        name: what the records call it; by default the agent's name. Needed where an agent is there
            twice, with other options.
        control: how its labels are spoilt, see `pbrl.training.result.CONTROLS`.
        group: of the tasks that it runs on.
        options: of `pbrl train` or `pbrl fit` for every run of it.
    """

    agent: str
    name: str = ""
    control: str = "none"
    group: str = ""
    options: dict[str, Option] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.control not in CONTROLS:
            raise ValueError(f"control must be one of {', '.join(CONTROLS)}, got {self.control!r}")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Every method on every task of its group with every seed.

    Attributes:
        name: of the suite and of the folder of its records.
        title: heading of its table.
        description: a paragraph under the heading.
        seeds: one run each.
        tasks: the environments or datasets.
        methods: the agents and controls.
        options: of `pbrl train` or `pbrl fit` for every run.
        shares: suites that ask for some of the same runs, whose records of these serve here too.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    tasks: tuple[Task, ...]
    methods: tuple[Method, ...]
    description: str = ""
    options: dict[str, Option] = field(default_factory=dict)
    shares: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        groups = {task.group for task in self.tasks} ^ {method.group for method in self.methods}
        if groups:
            raise ValueError(
                "every group needs tasks and methods, got only one of them for "
                f"{', '.join(map(repr, sorted(groups)))}"
            )
        unknown = {seed for task in self.tasks for seed in task.seeds} - set(self.seeds)
        if unknown:
            raise ValueError(f"seeds of a task must be of {self.seeds}, got {sorted(unknown)}")

    def runs(self) -> "list[SuiteRun]":
        """Return the runs, all methods and tasks with the first seed before the next seed."""
        return list(self._runs())

    def _runs(self) -> "Iterator[SuiteRun]":
        for seed in self.seeds:
            for task in self.tasks:
                if seed in (task.seeds or self.seeds):
                    yield from self._runs_on(task, seed)

    def _runs_on(self, task: Task, seed: int) -> "Iterator[SuiteRun]":
        for method in self.methods:
            if method.group != task.group:
                continue
            label_options = {} if method.agent in ORACLES else task.label_options
            yield SuiteRun(
                suite=self.name,
                task=task,
                method=method,
                seed=seed,
                options=self.options | task.options | label_options | method.options,
            )


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """One run of a suite."""

    suite: str
    task: Task
    method: Method
    seed: int
    options: dict[str, Option]

    @property
    def control(self) -> str:
        """How the labels are spoilt."""
        return self.method.control

    @property
    def agent(self) -> str:
        """What the method is called."""
        return self.method.name or self.method.agent

    @property
    def task_name(self) -> str:
        """What the environment or the dataset is called."""
        return self.task.name or self.task.env or self.task.dataset or ""

    @property
    def name(self) -> str:
        """A name that no other run of the suite has, fit for a file."""
        control = "" if self.control == "none" else f"_{self.control}"
        return (
            f"{_UNFIT.sub('-', self.task_name)}_{_UNFIT.sub('-', self.agent)}{control}_{self.seed}"
        )

    @property
    def labels(self) -> str | None:
        """The file or folder of its labels."""
        labels = self.task.labels
        return None if labels is None else labels.replace("{seed}", str(self.seed))

    @property
    def data(self) -> tuple[str, ...]:
        """The files and folders that it reads."""
        given = (self.task.dataset, self.labels)
        return tuple(path for path in given if path is not None and not _KIND.match(path))

    def words(self, folder: Path, *, resume: bool) -> list[str]:
        """Return the words after `pbrl` that start or resume the run in `folder`."""
        task = self.task
        given = [task.dataset, self.labels] if task.env is None else [task.env]
        words = ["train" if task.env else "fit", *(word for word in given if word is not None)]
        words += ["--agent", self.method.agent, "--seed", str(self.seed)]
        words += ["--control", self.control, "--suite", self.suite, "--out", folder.as_posix()]
        for name, value in self.options.items():
            words += _flag(name, value)
        return [*words, "--resume"] if resume else words


def load_suite(path: Path) -> Suite:
    """Return the suite in a TOML file; its name is that of the file.

    Raises:
        ValueError: if the file is not TOML or not a suite, naming the field.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from error
    missing = [name for name in ("title", "seeds", "tasks", "methods") if not data.get(name)]
    if missing:
        raise ValueError(f"{path}: {missing[0]}: expected at least one entry, got nothing")
    suite = decode(Suite, {"name": path.stem, **data}, str(path))
    names = [run.name for run in suite.runs()]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}: the run {twice} is there twice")
    return suite


def check_data(runs: Iterable[SuiteRun]) -> None:
    """Refuse runs whose files of data are not there.

    Raises:
        FileNotFoundError: naming the files, and how to get them if the suite says so.
    """
    lacking: dict[str, list[str]] = {}
    origins = {path: run.task.origin for run in runs for path in run.data}
    for path, origin in origins.items():
        if not Path(path).exists():
            lacking.setdefault(origin, []).append(path)
    if lacking:
        lines = [
            f"{', '.join(paths)}: not there{f'; {origin}' if origin else ''}"
            for origin, paths in lacking.items()
        ]
        raise FileNotFoundError("\n".join(lines))


def _flag(name: str, value: Option) -> list[str]:
    """Return an option as words of a command line, the way tyro spells booleans."""
    if isinstance(value, bool):
        *groups, last = name.split(".")
        return [f"--{'.'.join([*groups, last if value else f'no-{last}'])}"]
    return [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]
