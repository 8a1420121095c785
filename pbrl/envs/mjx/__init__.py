"""Batched physics: tasks of the control suite in thousands of worlds at once.

A task is a model of the suite with an observation and a reward function written in torch; the
physics under it is MuJoCo on the threads of the CPU, or MJX on an accelerator.
"""

from pbrl.envs import dmc
from pbrl.envs.mjx.make import make
from pbrl.envs.mjx.memory import WorldsDoNotFit
from pbrl.envs.mjx.tasks import TASKS
from pbrl.envs.mjx.vector import BatchedVectorEnv

__all__ = ["BatchedVectorEnv", "WorldsDoNotFit", "has_task", "list_tasks", "make", "make_lane"]

PACKAGES = dmc.PACKAGES
make_lane = dmc.make_lane  # the same task of dm_control itself, for `backend="official"`


def list_tasks() -> tuple[str, ...]:
    """Return the tasks, by name."""
    return tuple(sorted(TASKS))


def has_task(task: str) -> bool:
    """Say whether there is such a task."""
    return task in TASKS
