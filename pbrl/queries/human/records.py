"""A study's labels as learners take them: the feedback record, graded lists, rated segments."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from sqlalchemy import Connection, select
from torch import Tensor

from pbrl.feedback import FeedbackStore
from pbrl.queries.human import tables
from pbrl.queries.human.answers import GivenAnswer, current_answers
from pbrl.queries.human.kinds import PAIR_KINDS
from pbrl.queries.human.labels import Aggregate, aggregated_labels
from pbrl.queries.human.live_runs import list_runs
from pbrl.queries.human.studies import Study, noted_dataset
from pbrl.queries.human.votes import first_answers
from pbrl.segments import SegmentIndex


@dataclass(frozen=True)
class GradedLists:
    """Lists of segments in an order of preference, for Plackett-Luce.

    Attributes:
        index: where the segments lie, `[list, item]`.
        grades: higher is better; the best of K has K - 1, the worst 0.
        annotators: who ranked each list.
    """

    index: SegmentIndex
    grades: Float[Tensor, "list item"]
    annotators: tuple[str, ...]


@dataclass(frozen=True)
class RatedSegments:
    """Single segments with a class each.

    Attributes:
        index: where the segments lie, `[segment]`.
        ratings: class of each, 0 the worst.
        num_classes: how many there are.
        annotators: who rated each.
    """

    index: SegmentIndex
    ratings: Int[Tensor, " segment"]
    num_classes: int
    annotators: tuple[str, ...]


@dataclass(frozen=True)
class Places:
    """Where the segments of queries lie, ordered by position; the index is `[query, place]`."""

    query_ids: list[int]
    keys: list[str]
    asked_at: list[int]
    index: SegmentIndex


def feedback_record(
    connection: Connection, study: Study, aggregate: Aggregate = "each"
) -> FeedbackStore:
    """Return the labels of a study of pairs as the library's own record.

    Every plain query is a row, in the order of asking, answered or not; gold questions and repeats
    are left out. Names of segments are those given when the query was asked.

    Raises:
        ValueError: if the study's feedback is not of pairs.
    """
    if study.config.kind not in PAIR_KINDS:
        raise ValueError(
            f"a record holds labels of pairs; study {study.name} has {study.config.kind}s: "
            "export a table, or use graded_lists or rated_segments"
        )
    places = read_places(connection, study)
    rows = {query_id: row for row, query_id in enumerate(places.query_ids)}
    answers = first_answers(current_answers(connection, study.id))
    labels = aggregated_labels(answers, aggregate)
    names = list(dict.fromkeys(label.annotator for label in labels))
    # A run asks about episodes of its own.
    dataset = None if list_runs(connection, study.id) else noted_dataset(connection, study.id)
    store = FeedbackStore()
    index = places.index
    store.load_state_dict(
        {
            "index": torch.stack([index.episode, index.start, index.length]),
            "asked_at": torch.tensor(places.asked_at, dtype=torch.int64),
            "answered": torch.tensor([rows[label.query_id] for label in labels]).long(),
            "labels": torch.tensor([label.label for label in labels]).float(),
            "weights": torch.tensor([label.weight for label in labels]).float(),
            "times": torch.tensor([label.time for label in labels], dtype=torch.float64),
            "annotator": torch.tensor([names.index(label.annotator) for label in labels]).long(),
            "names": names,
            "dataset": None if dataset is None else dataset.plain(),
        }
    )
    return store


def graded_lists(connection: Connection, study: Study) -> GradedLists:
    """Return the rankings of a study.

    Raises:
        ValueError: if it has none, being of another kind.
    """
    answers, index = _told(connection, study, "ranking")
    orders = torch.tensor([answer.value["ranking"] for answer in answers if answer.value])
    # The place of rank r has grade K - 1 - r, which is what sorting the order gives.
    size = study.config.num_segments
    grades = (size - 1 - orders.reshape(-1, size).argsort(-1)).float()
    return GradedLists(index, grades, tuple(answer.annotator for answer in answers))


def rated_segments(connection: Connection, study: Study) -> RatedSegments:
    """Return the ratings of a study.

    Raises:
        ValueError: if it has none, being of another kind.
    """
    answers, index = _told(connection, study, "rating")
    ratings = torch.tensor([answer.value["rating"] for answer in answers if answer.value]).long()
    names = tuple(answer.annotator for answer in answers)
    return RatedSegments(index[:, 0], ratings, len(study.config.classes), names)


def read_places(connection: Connection, study: Study, *, is_gold: bool | None = False) -> Places:
    """Return where the segments of a study's queries lie.

    Args:
        connection: a transaction.
        study: the study.
        is_gold: only gold questions, or only others; None for all.
    """
    query, link, segment = tables.query.c, tables.query_segment.c, tables.segment.c
    rows = (
        select(query.id, query.key, query.asked_at, link.episode, link.start, segment.num_steps)
        .join_from(tables.query, tables.query_segment)
        .join(tables.segment, segment.id == link.segment_id)
        .where(query.study_id == study.id)
        .order_by(query.position, link.place)
    )
    if is_gold is not None:
        rows = rows.where(query.is_gold.is_(is_gold))
    found = connection.execute(rows).all()
    size = study.config.num_segments
    numbers = torch.tensor([list(row[3:]) for row in found], dtype=torch.int64)
    episode, start, length = numbers.reshape(-1, size, 3).unbind(-1)
    firsts = found[::size]
    return Places(
        [row[0] for row in firsts],
        [row[1] for row in firsts],
        [row[2] for row in firsts],
        SegmentIndex(episode, start, length),
    )


def _told(
    connection: Connection, study: Study, kind: str
) -> tuple[list[GivenAnswer], SegmentIndex]:
    """Return the plain answers of a kind that say something, and where their segments lie."""
    if study.config.kind != kind:
        raise ValueError(f"study {study.name} has {study.config.kind}s, not {kind}s")
    places = read_places(connection, study)
    rows = {query_id: row for row, query_id in enumerate(places.query_ids)}
    answers = [
        answer
        for answer in first_answers(current_answers(connection, study.id))
        if answer.value is not None
    ]
    return answers, places.index[torch.tensor([rows[one.query_id] for one in answers]).long()]
