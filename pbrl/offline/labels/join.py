"""Labels and the dataset that they were given for, joined."""

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from pbrl.dataset_identity import check_same_dataset
from pbrl.feedback import Answers, FeedbackStore, LabelledQueries
from pbrl.offline.dataset import OfflineDataset
from pbrl.offline.labels.origins import canonical, origin
from pbrl.offline.labels.segment_files import segment_digests
from pbrl.offline.labels.table import LabelTable, ScoreTable
from pbrl.offline.rows import locate_rows
from pbrl.pairs import LabelledPairs, ScoredSegments
from pbrl.segments import SegmentIndex

StoredPreferences = LabelledPairs | ScoredSegments


def to_preferences(table: LabelTable | ScoreTable, dataset: OfflineDataset) -> StoredPreferences:
    """Return what offline learners draw from; refused queries are left out.

    Raises:
        ValueError: if the labels belong to another dataset, or there is none.
    """
    if isinstance(table, ScoreTable):
        return to_scored(table, dataset)
    index = locate(table, dataset)
    labels, weights = _answers(table, index.episode.device)
    given = ~labels.isnan()
    if not bool(given.any()):
        raise ValueError(f"{table.source} holds no label")
    return LabelledPairs(LabelledQueries(index[given], labels[given], weights[given]))


def to_scored(table: ScoreTable, dataset: OfflineDataset) -> ScoredSegments:
    """Return segments with their scores.

    Raises:
        ValueError: if the segments belong to another dataset.
    """
    index = locate(table, dataset)
    scores = torch.from_numpy(table.scores).to(index.episode.device, torch.float32)
    return ScoredSegments(index, scores)


def to_feedback(table: LabelTable, dataset: OfflineDataset) -> FeedbackStore:
    """Return the labels as a feedback record, one query for each answer.

    Raises:
        ValueError: if the labels belong to another dataset.
    """
    store = FeedbackStore()
    ids = store.ask(locate(table, dataset), step=0)
    store.answer(Answers(ids, *_answers(table, "cpu"), table.annotators))
    store.notes += table.notes
    store.dataset = dataset.identity()
    return store


def _answers(table: LabelTable, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Return labels and weights in single precision."""
    labels, weights = (torch.from_numpy(column) for column in (table.labels, table.weights))
    return labels.to(device, torch.float32), weights.to(device, torch.float32)


def locate(table: LabelTable | ScoreTable, dataset: OfflineDataset) -> SegmentIndex:
    """Return where the segments of a table lie in a dataset, `[answer, 2]` or `[segment]`.

    Raises:
        ValueError: if they do not lie there or the file says that they are of another dataset,
            naming the file, and the dataset that is needed where the file tells it.
    """
    find = {"rows": _by_rows, "episodes": _by_episodes, "content": _by_content}[table.named_by]
    try:
        if table.identity is not None:
            check_same_dataset(
                table.identity, dataset.info.name, dataset.replay, _take_over(table, dataset)
            )
        return find(table, dataset).to(dataset.replay.device)
    except ValueError as error:
        raise ValueError(f"{table.source} and the dataset {dataset.info.name}: {error}") from error


def need_dataset(table: LabelTable | ScoreTable) -> str:
    """Return a sentence that says which dataset the labels of a table were given for."""
    if table.named_by == "content":
        return f"{table.source} holds its segments itself and is its own dataset"
    if table.named_by == "episodes":
        which = "the dataset that was labelled" if table.identity is None else table.identity
        return f"{table.source} names segments by episode of {which}"
    name = getattr(table, "dataset", None)
    if name is None:
        return f"{table.source} counts rows of the dataset that was labelled"
    where = origin(name) or f"a dataset called {name}"
    return f"{table.source} counts rows of {name}: it needs {where}"


def _take_over(table: LabelTable | ScoreTable, dataset: OfflineDataset) -> str:
    """Return a sentence on labels of the same episodes that were written anew."""
    return (
        "If these are the same episodes in another form, write the labels down as theirs: `pbrl "
        f"label import {table.source} NEW.npz --dataset DATASET --other-dataset`, with the path or "
        f"name of {dataset.info.name}"
    )


def _by_rows(table: LabelTable | ScoreTable, dataset: OfflineDataset) -> SegmentIndex:
    needed, given = getattr(table, "dataset", None), dataset.info.name
    if dataset.rows is None:
        raise ValueError(
            f"the labels name segments by row, and datasets of the family {dataset.info.family} "
            f"have no rows that label files count (Minari's are not those of D4RL, whatever their "
            f"names): {need_dataset(table)}"
        )
    if needed and origin(given) and canonical(given) != canonical(needed):
        raise ValueError(f"they count the rows of another dataset: {need_dataset(table)}")
    try:
        return locate_rows(dataset.rows, table.segments[..., 0], table.segments[..., 1])
    except ValueError as error:
        raise ValueError(f"{error}; {need_dataset(table)}") from error


def _by_episodes(table: LabelTable | ScoreTable, dataset: OfflineDataset) -> SegmentIndex:
    index = SegmentIndex(*torch.from_numpy(table.segments).unbind(-1)).to(dataset.replay.device)
    num_episodes = len(dataset.replay.completed_episodes())
    strange = (index.episode < 0) | (index.episode >= num_episodes)
    if bool(strange.any()):
        raise ValueError(
            f"the labels name episode {int(index.episode[strange][0])}; the dataset has episodes 0 "
            f"to {num_episodes - 1}"
        )
    lengths = dataset.replay.episode_lengths(index.episode.flatten()).view(index.shape)
    # Not start + length > lengths, which a hostile file could let wrap around.
    outside = (index.start < 0) | (index.length < 1) | (index.start > lengths - index.length)
    if bool(outside.any()):
        episode, start, length = (
            int(column[outside][0]) for column in (index.episode, index.start, index.length)
        )
        raise ValueError(
            f"{int(outside.sum())} segments leave their episode; the first begins at step {start} "
            f"and has {length} steps, episode {episode} has {int(lengths[outside][0])}"
        )
    return index


def _by_content(table: LabelTable | ScoreTable, dataset: OfflineDataset) -> SegmentIndex:
    if dataset.info.family != "pairs":
        raise ValueError(f"{need_dataset(table)}, not one of the family {dataset.info.family}")
    episodes = dataset.replay.completed_episodes()
    lengths = dataset.replay.episode_lengths(episodes)
    held = dataset.replay.gather(SegmentIndex(episodes, torch.zeros_like(episodes), lengths))
    digests = segment_digests(held.observations.cpu().numpy(), held.actions.cpu().numpy())
    place, is_known = _find(digests, table.segments[..., 0])
    if not is_known.all():
        raise ValueError(
            f"{int((~is_known).sum())} of {is_known.size} segments of the labels are not in the "
            f"dataset, which has {len(episodes)}"
        )
    found = torch.from_numpy(place).to(episodes.device)
    return SegmentIndex(episodes[found], torch.zeros_like(found), lengths[found])


def _find(
    digests: Int[np.ndarray, " segment"], wanted: Int[np.ndarray, "*shape"]
) -> tuple[Int[np.ndarray, "*shape"], np.ndarray]:
    """Return the place of each wanted digest, and whether it is there at all."""
    order = np.argsort(digests)
    rank = np.searchsorted(digests[order], wanted).clip(max=len(digests) - 1)
    place = order[rank]
    return place, digests[place] == wanted
