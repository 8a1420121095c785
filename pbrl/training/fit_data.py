"""The data of an offline run."""

import hashlib
from collections.abc import Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pbrl.devices import find_device
from pbrl.offline.dataset import OfflineDataset
from pbrl.pairs import LabelledPairs, PreferenceData, ScoredSegments
from pbrl.training.fit_config import DataConfig
from pbrl.training.offline_presets import Facts

SELF_LABELLED = "pairs"  # the family of datasets whose files hold their labels


class Data(NamedTuple):
    """A dataset and the preferences between its segments, if there are any."""

    dataset: OfflineDataset
    preferences: PreferenceData | None = None

    @property
    def num_labels(self) -> int:
        """Labels, or scored segments."""
        return len(self.preferences) if isinstance(self.preferences, Sized) else 0

    def with_own_rewards(self) -> "Data":
        """Return the same data, whose rewards to learn from may be overwritten apart."""
        replay = self.dataset.replay.with_own_rewards()
        return self._replace(dataset=replace(self.dataset, replay=replay))

    def facts(self) -> Facts:
        """Return what presets are chosen by."""
        longest = None
        if self.preferences is not None:
            longest = int(self.preferences.segments.length.max())
        return Facts(
            info=self.dataset.info,
            segment_steps=longest,
            num_labels=self.num_labels,
            draws_pairs=not isinstance(self.preferences, LabelledPairs | None),
        )


def check_there(dataset: str, labels: str | None) -> None:
    """Refuse data that are not there, before anything is read or said of the run's folder.

    Raises:
        ValueError: if there is no such dataset.
        FileNotFoundError: if there are no such labels.
    """
    from pbrl.offline import foresight, load
    from pbrl.offline.labels.formats import check_labels_there

    load.check_there(dataset)
    if labels is not None and labels.partition(":")[0] != foresight.PREFIX:
        check_labels_there(Path(labels))


def load_data(dataset: str, labels: str | None, options: DataConfig, device: str) -> Data:
    """Read a dataset and its labels.

    Args:
        dataset: see `pbrl.offline.load.load_dataset`.
        labels: see `pbrl.offline.labels.load_preferences` and
            `pbrl.offline.foresight.parse_foresight`; None where the dataset holds them or there are
            none.
        options: how they are read.
        device: where the episodes shall live.

    Raises:
        ValueError: naming the file, the key, what came and what was expected, or the device if it
            is not there.
        OSError: if a file cannot be opened.
    """
    # HDF5, Minari and pickles are for those who need them.
    from pbrl.offline import foresight
    from pbrl.offline.labels import load_preferences
    from pbrl.offline.load import load_dataset

    loaded = load_dataset(
        dataset,
        device=find_device(device),
        env=options.env,
        goal_visible=options.goal_visible,
        name=options.name,
        max_episode_steps=options.max_episode_steps,
        observation_keys=options.observation_keys,
        download=options.download,
    )
    if labels is None and loaded.info.family == SELF_LABELLED:
        labels = dataset.removeprefix(f"{SELF_LABELLED}:")
    if labels is None:
        return Data(loaded)
    if labels.partition(":")[0] == foresight.PREFIX:
        return Data(loaded, foresight.parse_foresight(labels, loaded.replay))
    return Data(loaded, load_preferences(labels, loaded, options.score))


def fingerprint(data: Data) -> dict[str, Any]:
    """Return what a checkpoint must agree with: the dataset's content and shape, and the labels."""
    dataset, preferences = data
    return {
        "dataset": {
            "name": dataset.info.name,
            "checksum": dataset.info.checksum,
            "steps": dataset.replay.num_steps,
            "observation_dim": dataset.observation_dim,
            "action_dim": dataset.action_dim,
        },
        "labels": None if preferences is None else _checksum(preferences),
    }


def _checksum(preferences: PreferenceData) -> str:
    """Return the SHA-256 of preferences: of their segments and of their labels or scores."""
    index = preferences.segments
    parts = [index.episode, index.start, index.length]
    if isinstance(preferences, LabelledPairs):
        pairs = preferences.labelled
        parts += [pairs.index.episode, pairs.index.start, pairs.labels, pairs.weights]
    elif isinstance(preferences, ScoredSegments):
        parts.append(preferences.scores)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.cpu().numpy().tobytes())
    return digest.hexdigest()
