"""Answers of people as votes: what agreement and aggregation count."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from pbrl.feedback import TIE
from pbrl.queries.human.aggregation import Votes
from pbrl.queries.human.answers import GivenAnswer
from pbrl.queries.human.kinds import PAIR_KINDS, FeedbackKind

PAIR_CLASSES = (0.0, TIE, 1.0)
"""The label that each class of a vote on a pair stands for."""

_FIRST, _SECOND = 0, 2


def first_answers(answers: Sequence[GivenAnswer]) -> list[GivenAnswer]:
    """Return the answers that are labels: to plain queries, and the first to each."""
    return [answer for answer in answers if answer.purpose == "plain"]


def collect_votes(
    kind: FeedbackKind, answers: Sequence[GivenAnswer], num_classes: int
) -> tuple[Votes, list[int], list[int]]:
    """Return the answers as votes, with the query of each item and the annotator of each number.

    A pair has the classes first, equal and second; a rating its own; a ranking of K counts as its
    K (K - 1) / 2 pairs, each an item, whose query is then named as often.

    Args:
        kind: of feedback.
        answers: to one study; "can't tell" is no vote.
        num_classes: of a rating.
    """
    told = [answer for answer in answers if answer.value is not None]
    people = sorted({answer.annotator_id for answer in told})
    rows = [row for answer in told for row in _rows(kind, answer)]
    keys = sorted({(query, pair) for query, pair, _, _ in rows})
    place = {key: number for number, key in enumerate(keys)}
    votes = Votes(
        items=np.array([place[query, pair] for query, pair, _, _ in rows], np.int64),
        annotators=np.array([people.index(person) for _, _, person, _ in rows], np.int64),
        classes=np.array([vote for _, _, _, vote in rows], np.int64),
        num_items=len(keys),
        num_annotators=len(people),
        num_classes=num_classes if kind == "rating" else len(PAIR_CLASSES),
    )
    return votes, [query for query, _ in keys], people


def _rows(kind: FeedbackKind, answer: GivenAnswer) -> list[tuple[int, tuple[int, int], int, int]]:
    """Return (query, pair of places, annotator, class) for every vote in an answer."""
    value = answer.value or {}
    query, person = answer.query_id, answer.annotator_id
    if kind in PAIR_KINDS:
        return [(query, (0, 1), person, PAIR_CLASSES.index(value["label"]))]
    if kind == "rating":
        return [(query, (0, 0), person, value["rating"])]
    rank = {place: number for number, place in enumerate(value["ranking"])}
    return [
        (query, pair, person, _FIRST if rank[pair[0]] < rank[pair[1]] else _SECOND)
        for pair in combinations(sorted(rank), 2)
    ]
