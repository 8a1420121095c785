"""Offline data: datasets, stored labels and collection."""

from pbrl.offline.checks import DatasetError
from pbrl.offline.dataset import DatasetInfo, OfflineDataset, ReferenceScores, RowNumbers
from pbrl.offline.episode_arrays import EpisodeArrays
from pbrl.offline.load import load_dataset
from pbrl.offline.matching import check_matches
from pbrl.offline.npz_episodes import save_episodes
from pbrl.offline.reference_scores import reference_scores
from pbrl.offline.rows import locate_rows

__all__ = [
    "DatasetError",
    "DatasetInfo",
    "EpisodeArrays",
    "OfflineDataset",
    "ReferenceScores",
    "RowNumbers",
    "check_matches",
    "load_dataset",
    "locate_rows",
    "reference_scores",
    "save_episodes",
]
