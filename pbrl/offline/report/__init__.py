"""What a dataset holds, for people who have to decide what to do with it."""

from pbrl.offline.report.coverage import Coverage, Duplicates, count_duplicates, cover
from pbrl.offline.report.suitability import Fit, suitability
from pbrl.offline.report.summary import DatasetSummary, Spread, summarize

__all__ = [
    "Coverage",
    "DatasetSummary",
    "Duplicates",
    "Fit",
    "Spread",
    "count_duplicates",
    "cover",
    "suitability",
    "summarize",
]
