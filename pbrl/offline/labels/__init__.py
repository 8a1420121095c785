"""Stored labels: importers that convert to P(second preferred) at the door, export and report."""

from pbrl.offline.labels.formats import FORMATS, detect_format, is_self_contained, read_labels
from pbrl.offline.labels.load import (
    LabelledDataset,
    load_feedback,
    load_pairs,
    load_preferences,
)
from pbrl.offline.labels.scores import save_scores

__all__ = [
    "FORMATS",
    "LabelledDataset",
    "detect_format",
    "is_self_contained",
    "load_feedback",
    "load_pairs",
    "load_preferences",
    "read_labels",
    "save_scores",
]
