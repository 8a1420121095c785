"""The folder of a run: who may write there, and with what it was started."""

import platform
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from pbrl.training.files import differences, plain, read_json, with_new_defaults, write_json
from pbrl.training.folder_lock import LOCK, give_up, hold
from pbrl.training.machine import commit, machine, versions

CHECKPOINTS = "checkpoint"
_EVENTS = "events.out.tfevents.*"
_OF_A_NEW_RUN = ("config.json", "versions.json", "metrics.csv", "wandb.json", _EVENTS)
_DEPTHS = tuple("*/" * depth + "config.json" for depth in (1, 2, 3))
_BEFORE_THE_RUN = (LOCK, "versions.json", ".DS_Store")


class RunFolder:
    """The folder of one run, held by one process until `close`.

    It holds `config.json`, `versions.json`, `metrics.csv`, TensorBoard events, `checkpoint/`,
    `result.json` and figures. Use it as a context manager: a new run that fails before `begin`
    leaves the folder free for another one.

    Args:
        path: created if it does not exist.
        config: the run's configuration, a dataclass or a mapping of JSON values.
        resume: go on with the run that is there; the configuration must be the same, but for
            fields that are newer than the run and have their defaults.

    Attributes:
        is_resumed: whether it is the folder of a run that was there before.

    Raises:
        FileExistsError: if there is a run, or something else, and `resume` is False.
        FileNotFoundError: if there is no run to resume.
        ValueError: if the run to resume has another configuration, naming the fields.
        OSError: if the folder cannot be written or another process holds it.
    """

    def __init__(self, path: Path, config: Any, *, resume: bool = False) -> None:
        self.path = path
        self.is_resumed = resume
        self._is_new = not resume
        self.config: dict[str, Any] = plain(config)
        if resume and not is_run(path):
            raise FileNotFoundError(
                f"there is no run to resume in {path}: it has no config.json. Name the folder of "
                "the run, or start a new one without --resume"
            )
        if not resume:
            check_free(path)
        self._made = [one for one in (path, *path.parents) if not one.exists()]
        self._lock = hold(path)
        try:
            if resume:
                self._check_config(config)
            write_json(path / "versions.json", _record_of_versions())
            if not resume:
                write_json(path / "config.json", self.config)  # last: from here on it is a run
        except BaseException:
            if self._is_new:
                self._give_back()
            self.close()
            raise

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def metrics(self) -> Path:
        """The table of metrics."""
        return self.path / "metrics.csv"

    @property
    def result(self) -> Path:
        """The run's result, there once the run is complete."""
        return self.path / "result.json"

    def _check_config(self, config: Any) -> None:
        stored = read_json(self.path / "config.json")
        check_same_config(self.path, with_new_defaults(stored, config), self.config)
        self.config = stored  # what its checkpoints were written with

    def begin(self) -> None:
        """Note that everything is ready for the first step: what fails now is there to resume."""
        self._is_new = False

    def _give_back(self) -> None:
        """Take away what makes the folder a run's; nothing else was here when it was taken.

        Folders that were made for it go as well, as long as nothing else is in them.
        """
        for pattern in _OF_A_NEW_RUN:
            for path in self.path.glob(pattern):
                path.unlink()
        give_up(self._lock, self.path)
        with suppress(OSError):  # not empty, or gone
            for folder in self._made:
                folder.rmdir()

    def close(self) -> None:
        """Let other processes write here."""
        self._lock.close()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and self._is_new:
            self._give_back()
        self.close()


def is_run(path: Path) -> bool:
    """Return whether a run was started in the folder."""
    return (path / "config.json").is_file()


def read_config(path: Path) -> dict[str, Any]:
    """Return the configuration of the run in a folder.

    Raises:
        FileNotFoundError: if there is none.
    """
    if not is_run(path):
        raise FileNotFoundError(f"{path} is not the folder of a run: {_what_instead(path)}")
    config: dict[str, Any] = read_json(path / "config.json")
    return config


def _what_instead(path: Path) -> str:
    """Return why a path is no run, and what to give in its place."""
    if around := next((one for one in path.parents if is_run(one)), None):
        return f"it lies in one, give {around}"
    within = (found for deep in _DEPTHS for found in sorted(path.glob(deep)))
    if inside := next(within, None):
        return f"it has no config.json, but holds runs, such as {inside.parent}"
    wrong = "it has no config.json" if path.is_dir() else "there is no such folder"
    return f"{wrong}; give one that `pbrl train` or `pbrl fit` wrote, such as runs/TASK/AGENT-SEED"


def check_same_config(path: Path, stored: Any, now: Any) -> None:
    """Refuse to go on with a run in another configuration than its own.

    Args:
        path: the run's folder.
        stored: the configuration of the run there, a dataclass or a mapping of JSON values.
        now: the one it shall go on with.

    Raises:
        ValueError: naming the fields that differ, and their values.
    """
    lines = differences(plain(stored), plain(now))
    if lines:
        raise ValueError(
            f"the run in {path} has another configuration (stored -> now):\n  "
            + "\n  ".join(lines)
            + "\nResume it with the stored values, or start a new run in another folder."
        )


def check_free(path: Path) -> None:
    """Refuse a folder that a new run must not use.

    Raises:
        FileExistsError: if there is a run or something else.
    """
    if is_run(path):
        raise FileExistsError(
            f"{path} already holds a run; resume it with --resume or choose another folder"
        )
    if path.is_dir():
        others = [item.name for item in path.iterdir() if not _is_leftover(item.name)]
        if others:
            raise FileExistsError(
                f"{path} is not empty and holds no run ({sorted(others)[0]}); choose another folder"
            )


def _is_leftover(name: str) -> bool:
    """Return whether a run stopped before its first step may have left this file."""
    return name in _BEFORE_THE_RUN or name.endswith(".tmp")


def _record_of_versions() -> dict[str, Any]:
    return {
        "versions": versions(),
        "commit": commit(),
        "machine": machine(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
