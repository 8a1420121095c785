"""Where the runs of a suite run: on this machine, or on the nodes of a Ray cluster."""

from pbrl.training.launchers.local import LocalLauncher
from pbrl.training.launchers.process import RunProcess
from pbrl.training.launchers.protocol import Ending, Job, Launched, Launcher

__all__ = ["Ending", "Job", "Launched", "Launcher", "LocalLauncher", "RunProcess"]
