"""`load_dataset`: one call for every dataset, whatever its source."""

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from pbrl.offline.checks import DatasetError
from pbrl.offline.d4rl import load_d4rl
from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.hdf5 import has, open_hdf5
from pbrl.offline.minari_reader import is_minari_folder, load_minari
from pbrl.offline.npz_episodes import load_npz
from pbrl.offline.options import LoadOptions
from pbrl.offline.robomimic import load_robomimic
from pbrl.replay import ReplayBuffer

Loader = Callable[[str, LoadOptions], OfflineDataset]
_HDF5 = (".hdf5", ".h5")


def load_dataset(  # noqa: PLR0913  one setting each
    source: str | Path,
    *,
    device: torch.device | str = "cpu",
    env: str | None = None,
    goal_visible: bool | None = None,
    name: str | None = None,
    max_episode_steps: int | None = None,
    observation_keys: tuple[str, ...] | None = None,
    download: bool = False,
) -> OfflineDataset:
    """Return the complete episodes of a dataset.

    Args:
        source: a path, or a kind and what it is called: `minari:mujoco/hopper/expert-v0`,
            `d4rl:PATH`, `robomimic:PATH`, `npz:PATH`, `run:PATH`. The kind of a path alone is found
            out: an HDF5 file of D4RL or Robomimic, an NPZ file of episodes or of pairs, the folder
            of a Minari dataset or of one of our own training runs.
        device: where the episodes shall live.
        env: environment id to evaluate in; by default what the source says.
        goal_visible: option of that environment; by default what the source says.
        name: of the dataset, where its file is not called by it: D4RL's reference scores and time
            limits go by it.
        max_episode_steps: time limit, for D4RL files without `timeouts` and of no known name.
        observation_keys: for Robomimic, what is concatenated to an observation; by default all of
            the low-dimensional state.
        download: for Minari, whether to fetch a dataset that is not there.

    Raises:
        DatasetError: if it cannot be read, naming the file, the key, what came and what was
            expected. It is a ValueError.
    """
    options = LoadOptions(
        device=device,
        env=env,
        goal_visible=goal_visible,
        name=name,
        max_episode_steps=max_episode_steps,
        observation_keys=observation_keys,
        download=download,
    )
    kind, rest = _split(source)
    return LOADERS[kind or find_kind(Path(rest))](rest, options)


def _split(source: str | Path) -> tuple[str | None, str]:
    """Return the kind that a source says it is of, if any, and what it is called."""
    kind, colon, rest = str(source).partition(":")
    return (kind, rest) if colon and kind in LOADERS else (None, str(source))


def check_there(source: str | Path) -> None:
    """Refuse a path at which there is nothing, without reading a dataset.

    Those of Minari are not looked for: they may have to be fetched.

    Raises:
        DatasetError: saying what a dataset may be.
    """
    kind, rest = _split(source)
    if kind != "minari" and not Path(rest).exists():
        kinds = ", ".join(f"{kind}:" for kind in LOADERS)
        raise DatasetError(
            f"there is no dataset {rest}: expected a path, or a name with its kind ({kinds}), such "
            "as minari:mujoco/hopper/expert-v0"
        )


def find_kind(path: Path) -> str:
    """Return the name in `LOADERS` of what a path holds.

    Raises:
        DatasetError: if there is nothing, or nothing that is known.
    """
    check_there(path)
    if path.is_dir():
        kind = "minari" if is_minari_folder(path) else "run"
        if kind == "run" and not (path / "config.json").is_file():
            raise DatasetError(
                f"{path} is no dataset: a folder of Minari has data/metadata.json, one of a "
                "training run has config.json"
            )
        return kind
    if path.suffix in _HDF5:
        return _kind_of_hdf5(path)
    if path.suffix == ".npz":
        return "pairs" if _is_pairs(path) else "npz"
    raise DatasetError(f"{path} is no dataset: expected a file .hdf5, .h5 or .npz, or a folder")


def _kind_of_hdf5(path: Path) -> str:
    with open_hdf5(path) as file:
        if has(path, file, "observations"):
            return "d4rl"
        if has(path, file, "data"):
            return "robomimic"
        if has(path, file, "episode_0"):
            raise DatasetError(
                f"{path} is a part of a Minari dataset: give the folder that holds its `data`, "
                "or minari: and its id"
            )
        raise DatasetError(
            f"{path} is no dataset: D4RL's have observations, Robomimic's have data, found "
            f"{', '.join(file) or 'nothing'}"
        )


def _is_pairs(path: Path) -> bool:
    from pbrl.offline.labels import is_self_contained

    try:
        return is_self_contained(path)
    except (ValueError, OSError) as error:
        raise DatasetError(str(error)) from error


def _load_pairs(path: str, options: LoadOptions) -> OfflineDataset:
    from pbrl.offline.labels import load_pairs

    try:
        dataset = load_pairs(path).dataset
    except (ValueError, OSError) as error:
        raise DatasetError(str(error)) from error
    info = replace(
        dataset.info,
        name=options.name or dataset.info.name,
        env=options.env or dataset.info.env,
        goal_visible=bool(options.goal_visible),
    )
    replay = ReplayBuffer(
        dataset.replay.num_steps, dataset.observation_dim, dataset.action_dim, device=options.device
    )
    replay.load_state_dict(dataset.replay.state_dict())
    return replace(dataset, info=info, replay=replay)


def _load_run(path: str, options: LoadOptions) -> OfflineDataset:
    """Load a run's replay; its reader lives with the checkpoints, above this package."""
    module = importlib.import_module("pbrl.training.run_dataset")
    dataset: OfflineDataset = module.load_run(Path(path), options)
    return dataset


LOADERS: dict[str, Loader] = {
    "minari": load_minari,
    "d4rl": lambda path, options: load_d4rl(Path(path), options),
    "robomimic": lambda path, options: load_robomimic(Path(path), options),
    "npz": lambda path, options: load_npz(Path(path), options),
    "pairs": _load_pairs,
    "run": _load_run,
}
