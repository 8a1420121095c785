"""The replay of a training run as a dataset to learn from offline."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from pbrl.offline.checks import DatasetError
from pbrl.offline.dataset import DatasetInfo, OfflineDataset
from pbrl.offline.episodes import EpisodeBounds, Steps, build_dataset
from pbrl.offline.options import LoadOptions
from pbrl.training.checkpoint import load_checkpoint
from pbrl.training.run_folder import read_config

PIXELS = "pixels"  # in the metadata of a dataset of images: what the environment showed, as JSON
_FIELDS = {"observations": "observations", "actions": "actions", "rewards": "true_rewards"}


LastObservations = Float32[np.ndarray, "episode obs"] | UInt8[np.ndarray, "episode frame"]


def load_run(folder: Path, options: LoadOptions) -> OfflineDataset:
    """Load the episodes in the replay of a run's newest checkpoint, in the order of their start.

    Episodes in progress count as cut off. Those whose beginning the replay has overwritten are left
    out, and counted in the metadata.

    Raises:
        DatasetError: if there is no run, no checkpoint, or no whole episode in its replay.
    """
    try:
        config = read_config(folder)
        state, step = load_checkpoint(folder / "checkpoint", None)
        replay = state["loop"]["replay"]
        steps, bounds, last_observations, num_overwritten = _read_replay(replay)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DatasetError(f"{folder} is no run with episodes in its replay: {error}") from error
    environment = config.get("environment", {})
    visible, pixels = options.goal_visible, environment.get("pixels")
    info = DatasetInfo(
        name=options.name or folder.resolve().name,
        family="run",
        env=options.env or config.get("env"),
        goal_visible=bool(environment.get("goal_visible", False) if visible is None else visible),
        checksum=_checksum(steps, bounds, last_observations),
        metadata={
            "agent": str(config.get("agent")),
            "seed": str(config.get("seed")),
            "steps": str(step),
            "episodes_overwritten": str(num_overwritten),
            **({} if pixels is None else {PIXELS: json.dumps(pixels)}),
        },
    )
    return build_dataset(
        info,
        steps,
        bounds,
        last_observations,
        device=options.device,
        num_frames=replay["ring"].get("num_frames", 1),
    )


def _read_replay(
    state: Mapping[str, Any],
) -> tuple[Steps, EpisodeBounds, LastObservations, int]:
    """Return the whole episodes in the state of a replay buffer, and how many are not whole."""
    ring = state["ring"]
    column = {name: value.numpy() for name, value in state["episodes"]["columns"].items()}
    oldest_row = max(0, ring["rows_written"] - ring["num_rows"])
    has_steps = column["_length"] > 0
    is_whole = has_steps & (column["_start"] >= oldest_row)
    if not is_whole.any():
        raise ValueError("no episode is whole")
    chosen = {name: value[is_whole] for name, value in column.items()}
    start, length, env = (chosen[name] for name in ("_start", "_length", "_env"))
    first = np.cumsum(length) - length
    rows = np.arange(length.sum()) + np.repeat(start - first, length)
    places = rows % ring["num_rows"] * ring["num_envs"] + np.repeat(env, length)
    steps = Steps(**{name: ring[field].numpy()[places] for name, field in _FIELDS.items()})
    terminated = chosen["_terminated"] & chosen["_complete"]
    bounds = EpisodeBounds(start=first, length=length, terminated=terminated)
    num_overwritten = int((has_steps & ~is_whole).sum())
    return steps, bounds, chosen["_last_observation"], num_overwritten


def _checksum(steps: Steps, bounds: EpisodeBounds, last_observations: LastObservations) -> str:
    """Return the SHA-256 of the episodes: the checkpoint holds much else."""
    digest = hashlib.sha256()
    for array in (*vars(steps).values(), *vars(bounds).values(), last_observations):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
