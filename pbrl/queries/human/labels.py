"""What answers of several people to pairs come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pbrl.queries.human.aggregation import dawid_skene, majority
from pbrl.queries.human.answers import GivenAnswer
from pbrl.queries.human.votes import PAIR_CLASSES, collect_votes

DECIMALS = 3

Aggregate = Literal["each", "reliability", "majority", "dawid-skene"]
"""How answers of several people to one query become labels.

"each" keeps every answer with weight 1, "reliability" every answer with its annotator's reliability
as weight, "majority" one label per query, and "dawid-skene" one label per query that is the
expected label under the model's posterior, to three decimals."""


@dataclass(frozen=True, kw_only=True)
class QueryLabel:
    """A label of one query: P(second preferred), NaN where nobody could tell."""

    query_id: int
    label: float
    weight: float
    annotator: str
    time: float


def aggregated_labels(answers: Sequence[GivenAnswer], aggregate: Aggregate) -> list[QueryLabel]:
    """Return the labels that answers to pairs come to."""
    if aggregate == "each":
        return _one_by_one(answers, {})
    votes, queries, people = collect_votes("pair", answers, 0)
    if aggregate == "reliability":
        reliability = dawid_skene(votes).reliability()
        return _one_by_one(answers, dict(zip(people, reliability.tolist(), strict=True)))
    shares = majority(votes) if aggregate == "majority" else dawid_skene(votes).posterior
    # Rounded, so that what the model's smoothing adds to a tie leaves it one.
    expected = (shares @ np.array(PAIR_CLASSES)).round(DECIMALS)
    labels = dict(zip(queries, expected.tolist(), strict=True))
    last = {answer.query_id: answer.answered_at for answer in answers}
    return [
        QueryLabel(
            query_id=query_id,
            label=labels.get(query_id, float("nan")),
            weight=1.0,
            annotator=aggregate,
            time=time,
        )
        for query_id, time in last.items()
    ]


def _one_by_one(answers: Sequence[GivenAnswer], weights: Mapping[int, float]) -> list[QueryLabel]:
    return [
        QueryLabel(
            query_id=answer.query_id,
            label=float("nan") if answer.value is None else answer.value["label"],
            weight=weights.get(answer.annotator_id, 1.0),
            annotator=answer.annotator,
            time=answer.answered_at,
        )
        for answer in answers
    ]
