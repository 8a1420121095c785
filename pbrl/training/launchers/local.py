"""Runs on the cores and GPUs of this machine."""

import math
import os
from collections.abc import Sequence

from pbrl.training.launchers.process import RunProcess
from pbrl.training.launchers.protocol import Job, Launched


class LocalLauncher:
    """Runs as processes of this machine.

    Args:
        workers: runs at once.
        gpus_per_run: a fraction that several runs share, or a whole number; 0 leaves all visible.

    Raises:
        ValueError: if there is not at least one worker, or no GPU where some are asked for.
    """

    def __init__(self, workers: int = 1, gpus_per_run: float = 0.0) -> None:
        if workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}")
        shares: list[str | None] = [None] * workers
        if gpus_per_run:
            shares = [*gpu_shares(_gpus(), gpus_per_run)]
        if not shares:
            raise ValueError(
                f"this machine has {len(_gpus())} GPUs that torch can use, and gpus_per_run "
                f"{gpus_per_run:g} asks for more: leave it out, or run where they are"
            )
        self._shares = shares[:workers]
        self._active: dict[int, RunProcess] = {}  # by place in the list of shares

    def check(self, jobs: Sequence[Job]) -> None:
        """Nothing can be wrong with this machine that the run itself does not say."""
        del jobs

    def num_places(self) -> int:
        """Return how many runs fit at once."""
        return len(self._shares)

    def launch(self, job: Job) -> Launched:
        """Start a run, or let it go on."""
        for place, process in list(self._active.items()):
            if process.poll() is not None:
                del self._active[place]
        place = next(i for i in range(len(self._shares)) if i not in self._active)
        gpus = self._shares[place]
        process = RunProcess(job, {} if gpus is None else {"CUDA_VISIBLE_DEVICES": gpus})
        self._active[place] = process
        return process

    def close(self) -> None:
        """End what still runs."""
        for process in self._active.values():
            process.kill()
        self._active.clear()


def check_gpus_per_run(number: float) -> None:
    """Refuse what neither a fraction of a GPU nor a whole number of them is.

    Raises:
        ValueError: naming it.
    """
    if number < 0 or (number > 1 and number != int(number)):
        raise ValueError(f"gpus_per_run must lie in [0, 1] or be a whole number, got {number:g}")


def gpu_shares(gpus: Sequence[str], gpus_per_run: float) -> list[str]:
    """Return which GPUs each run sees that fits on them, spread over the GPUs before doubled.

    Args:
        gpus: as CUDA_VISIBLE_DEVICES names them.
        gpus_per_run: a positive fraction, or a whole number.
    """
    check_gpus_per_run(gpus_per_run)
    if gpus_per_run <= 1:
        return list(gpus) * math.floor(1 / gpus_per_run + 1e-9)  # 1 / 0.1 is ten
    size = int(gpus_per_run)
    return [",".join(gpus[i : i + size]) for i in range(0, len(gpus) - size + 1, size)]


def _gpus() -> list[str]:
    """Return the GPUs that torch can use, as CUDA_VISIBLE_DEVICES names them."""
    import torch  # only here: nodes of a cluster start runs without it

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    return names[: torch.cuda.device_count()]
