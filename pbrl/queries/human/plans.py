"""Where the queries of a study come from: a list of pairs, or draws from a dataset."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pbrl.checks import check_seed
from pbrl.feedback import TIE
from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.labels.segment_files import read_pairs
from pbrl.queries.human.asking import NewQuery
from pbrl.queries.human.kinds import PAIR_KINDS
from pbrl.queries.human.recorded import RecordedSegment, recorded_segments
from pbrl.queries.human.studies import StudyConfig
from pbrl.queries.samplers import make_sampler


@dataclass(frozen=True, kw_only=True)
class DrawConfig:
    """How queries are drawn from a dataset.

    Attributes:
        num_queries: how many.
        segment_length: steps of a segment.
        sampler: for pairs, a name of `pbrl.queries.SAMPLERS` that needs no reward model.
        seed: of the draws.
    """

    num_queries: int = 100
    segment_length: int = 50
    sampler: str = "uniform"
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("num_queries", "segment_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def listed_pairs(path: Path, config: StudyConfig) -> Iterator[NewQuery]:
    """Yield the pairs of a file, in its order; labels that it holds are left aside.

    Args:
        path: of IPL's or CPL's kind, see `pbrl.offline.labels.segment_files.read_pairs`.
        config: of the study.

    Raises:
        ValueError: if the file is no such file, or the study does not ask about pairs.
    """
    for row, segments, _ in _read_pairs(path, config):
        yield NewQuery(key=f"{path.stem} {row}", segments=segments)


def gold_pairs(path: Path, config: StudyConfig, number: int, seed: int) -> Iterator[NewQuery]:
    """Yield pairs of a file, of which it says that one is better, as gold questions.

    Args:
        path: as for `listed_pairs`; its labels are the right answers.
        config: of the study.
        number: how many, drawn without replacement.
        seed: of the draw.

    Raises:
        ValueError: if the file has fewer pairs without a tie.
    """
    decided = [
        (row, segments, label)
        for row, segments, label in _read_pairs(path, config)
        if label in (0.0, 1.0)
    ]
    if len(decided) < number:
        raise ValueError(
            f"{path} has {len(decided)} pairs of which one is better, {number} are asked for"
        )
    for place in np.random.default_rng(seed).permutation(len(decided))[:number]:
        row, segments, label = decided[place]
        gold = {"label": label} | ({"moment": [0, 0]} if config.kind == "moment" else {})
        yield NewQuery(key=f"gold {path.stem} {row}", segments=segments, gold=gold)


def drawn_queries(
    dataset: OfflineDataset, config: StudyConfig, draw: DrawConfig
) -> Iterator[NewQuery]:
    """Yield queries drawn from a dataset: pairs by a sampler, other kinds uniformly.

    Raises:
        ValueError: if no episode is long enough.
    """
    generator = torch.Generator().manual_seed(draw.seed)
    replay, size = dataset.replay, config.num_segments
    if config.kind in PAIR_KINDS:
        sampler = make_sampler(draw.sampler, segment_length=draw.segment_length, pool=None)
        index = sampler(replay, None, draw.num_queries, generator)
    else:
        number = draw.num_queries * size
        index = replay.sample_segments(number, draw.segment_length, generator)
        index = index.reshape(draw.num_queries, size)
    for row in range(draw.num_queries):
        segments = recorded_segments(index[row], dataset.replay.gather(index[row]))
        yield NewQuery(key=f"{draw.sampler} {draw.seed} {row}", segments=segments)


def _read_pairs(
    path: Path, config: StudyConfig
) -> Iterator[tuple[int, list[RecordedSegment], float]]:
    if config.kind not in PAIR_KINDS:
        raise ValueError(f"{path} holds pairs; a study of {config.kind}s draws from a dataset")
    arrays, table = read_pairs(path)
    labels = np.where(np.isnan(table.labels), TIE, table.labels)
    episodes = arrays.episodes().tolist()  # as the file's own dataset counts them
    for row, label in enumerate(labels.tolist()):
        segments = [
            RecordedSegment(
                observations=arrays.observations[2 * row + place],
                actions=arrays.actions[2 * row + place],
                episode=episodes[2 * row + place],
            )
            for place in (0, 1)
        ]
        yield row, segments, label
