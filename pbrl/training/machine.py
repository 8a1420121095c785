"""What a result was made with: versions, commit and the kind of machine, never its name."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import pbrl

PACKAGES = (
    "torch", "numpy", "gymnasium", "mujoco", "metaworld", "dm_control", "envpool",
    "stable-baselines3", "minari", "jax", "mujoco-mjx",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python, of this package and of those installed that change results."""
    found = {"python": platform.python_version(), "pbrl": pbrl.__version__}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return `cpu` (model), `cores` (that this process may use) and `gpu` (model or None)."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": _cpu_model(), "cores": _num_cores(), "gpu": gpu}


def commit() -> str | None:
    """Return the git commit of the package, with `+changes` when files differ from it.

    None when the package is not run from a checkout of its own repository.
    """
    package = Path(pbrl.__file__).parent
    # An installed copy may lie inside a repository that does not track it.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git(package, "rev-parse", "HEAD")
    changes = _git(package, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{head}+changes" if head and changes else head


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _cpu_model() -> str:
    """Return the model's name where the system tells it, otherwise the architecture."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
