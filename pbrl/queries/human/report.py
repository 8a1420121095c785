"""What the owner of a study looks at: progress, people, agreement and conflicts."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from sqlalchemy import Connection, func, select

from pbrl.feedback import TIE
from pbrl.offline.labels.agreement import Share, wilson
from pbrl.queries.human import tables
from pbrl.queries.human.agreement import (
    Coefficient,
    Metric,
    cohen_kappa,
    krippendorff_alpha,
)
from pbrl.queries.human.answers import GivenAnswer, current_answers
from pbrl.queries.human.clips import clip_counts, drawing_reasons
from pbrl.queries.human.kinds import PAIR_KINDS, FeedbackKind, Value, describe, to_shown_order
from pbrl.queries.human.people import Person, list_people
from pbrl.queries.human.studies import Study
from pbrl.queries.human.votes import collect_votes, first_answers

NUM_RESAMPLES = 400
MAX_CONFLICTS = 50
_SEED = 0  # of the bootstrap: looking twice shows the same


@dataclass(frozen=True, kw_only=True)
class PersonReport:
    """What one annotator did.

    Attributes:
        person: who.
        num_answers: that count, gold questions and repeats included.
        num_cannot_tell: of these.
        median_seconds: from seeing a query to answering it; None without answers.
        left: of the pairs decided, how many for the segment shown at the left. An annotator with no
            habit of one side has an interval around a half.
        gold: of the gold questions answered, how many rightly.
        consistency: of the queries answered twice, how many equally.
        last_answer_at: seconds since 1970; None without answers.
    """

    person: Person
    num_answers: int
    num_cannot_tell: int
    median_seconds: float | None
    left: Share
    gold: Share
    consistency: Share
    last_answer_at: float | None


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A query on which people do not agree.

    Attributes:
        query_id: number in the database.
        query_key: its name.
        clips: the segment's number and whether it has a film, in the query's own order.
        answers: who said what, in words about that order.
    """

    query_id: int
    query_key: str
    clips: tuple[tuple[int, bool], ...]
    answers: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """How a study stands.

    Attributes:
        num_queries: plain ones.
        num_done: of these, how many have all the answers that the study wants.
        num_gold: gold questions.
        num_answers: answers to plain queries that count.
        num_wanted: how many the study wants.
        clips: how many clips have each status.
        drawn_because: why clips are drawings, with how many, the most frequent reasons first.
        choices: how many answers there are of each wording, the most frequent first.
        people: what each annotator did.
        kappa: Cohen's, where just two people answered.
        alpha: Krippendorff's, where at least two did; ordinal for ratings, nominal otherwise.
        num_conflicts: queries on which people do not agree.
        conflicts: the first 50 of them.
    """

    num_queries: int
    num_done: int
    num_gold: int
    num_answers: int
    num_wanted: int
    clips: Mapping[str, int]
    drawn_because: Mapping[str, int]
    choices: Mapping[str, int]
    people: tuple[PersonReport, ...]
    kappa: Coefficient | None
    alpha: Coefficient | None
    num_conflicts: int
    conflicts: tuple[Conflict, ...]


def study_report(connection: Connection, study: Study) -> StudyReport:
    """Return how a study stands."""
    answers = current_answers(connection, study.id)
    plain = first_answers(answers)
    query = tables.query.c
    numbers = connection.execute(
        select(query.is_gold, query.num_answers, func.count())
        .where(query.study_id == study.id)
        .group_by(query.is_gold, query.num_answers)
    ).all()
    wanted = study.config.labels_per_query
    num_queries = sum(count for is_gold, _, count in numbers if not is_gold)
    kappa, alpha = _agreement(study, plain)
    disputed = _disputed(plain)
    return StudyReport(
        num_queries=num_queries,
        num_done=sum(count for is_gold, given, count in numbers if not is_gold and given >= wanted),
        num_gold=sum(count for is_gold, _, count in numbers if is_gold),
        num_answers=len(plain),
        num_wanted=num_queries * wanted,
        clips=clip_counts(connection, study.id),
        drawn_because=drawing_reasons(connection, study.id),
        choices=_choices(study, plain),
        people=tuple(
            person_report(study.config.kind, person, answers)
            for person in list_people(connection, study.id)
            if person.role != "owner"
        ),
        kappa=kappa,
        alpha=alpha,
        num_conflicts=len(disputed),
        conflicts=_conflicts(connection, study, disputed[:MAX_CONFLICTS]),
    )


def person_report(
    kind: FeedbackKind, person: Person, answers: Sequence[GivenAnswer]
) -> PersonReport:
    """Return what one annotator did.

    Args:
        kind: of feedback.
        person: who.
        answers: everybody's.
    """
    mine = [answer for answer in answers if answer.annotator_id == person.id]
    told = [answer for answer in mine if answer.value is not None]
    seconds = [answer.seconds for answer in mine if answer.seconds is not None]
    first = {answer.query_id: answer.value for answer in told if answer.purpose == "plain"}
    repeats = [one for one in told if one.purpose == "repeat" and one.query_id in first]
    gold = [answer for answer in told if answer.gold is not None]
    return PersonReport(
        person=person,
        num_answers=len(mine),
        num_cannot_tell=len(mine) - len(told),
        median_seconds=median(seconds) if seconds else None,
        left=_left_share(kind, told),
        gold=_share([is_same(answer.value, answer.gold) for answer in gold]),
        consistency=_share([is_same(one.value, first[one.query_id]) for one in repeats]),
        last_answer_at=max((answer.answered_at for answer in mine), default=None),
    )


def is_same(value: Value, other: Value) -> bool:
    """Say whether two answers agree; moments that decided need not."""
    if value is None or other is None:
        return value is other
    return all(value[key] == other[key] for key in value if key != "moment")


def _share(outcomes: Sequence[bool]) -> Share:
    return wilson(sum(outcomes), len(outcomes))


def _left_share(kind: FeedbackKind, answers: Sequence[GivenAnswer]) -> Share:
    if kind not in PAIR_KINDS:
        return wilson(0, 0)
    shown = [to_shown_order(kind, answer.value, answer.order) for answer in answers]
    labels = [value["label"] for value in shown if value is not None and value["label"] != TIE]
    return _share([label == 0.0 for label in labels])


def _choices(study: Study, answers: Sequence[GivenAnswer]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for answer in answers:
        value = answer.value
        if value is not None and "moment" in value:
            value = {"label": value["label"]}
        counts[describe(study.config.kind, value, study.config.classes)] += 1
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _agreement(
    study: Study, answers: Sequence[GivenAnswer]
) -> tuple[Coefficient | None, Coefficient | None]:
    config = study.config
    votes, _, people = collect_votes(config.kind, answers, len(config.classes))
    if len(people) < 2:  # noqa: PLR2004  nobody agrees with himself
        return None, None
    rng = np.random.default_rng(_SEED)
    kappa = cohen_kappa(votes, rng, num_resamples=NUM_RESAMPLES) if len(people) == 2 else None  # noqa: PLR2004
    metric: Metric = "ordinal" if config.kind == "rating" else "nominal"
    alpha = krippendorff_alpha(votes, rng, metric=metric, num_resamples=NUM_RESAMPLES)
    return kappa, alpha


def _disputed(answers: Sequence[GivenAnswer]) -> list[list[GivenAnswer]]:
    """Return the answers to each query on which people do not agree, in the order of queries."""
    by_query: dict[int, list[GivenAnswer]] = defaultdict(list)
    for answer in answers:
        if answer.value is not None:
            by_query[answer.query_id].append(answer)
    return [
        given
        for given in sorted(by_query.values(), key=lambda given: given[0].position)
        if any(not is_same(answer.value, given[0].value) for answer in given)
    ]


def _conflicts(
    connection: Connection, study: Study, disputed: Sequence[Sequence[GivenAnswer]]
) -> tuple[Conflict, ...]:
    clips = _clips_of(connection, [given[0].query_id for given in disputed])
    config = study.config
    return tuple(
        Conflict(
            query_id=given[0].query_id,
            query_key=given[0].query_key,
            clips=clips[given[0].query_id],
            answers=tuple(
                (one.annotator, describe(config.kind, one.value, config.classes)) for one in given
            ),
        )
        for given in disputed
    )


def _clips_of(
    connection: Connection, query_ids: Sequence[int]
) -> dict[int, tuple[tuple[int, bool], ...]]:
    link, clip = tables.query_segment.c, tables.clip.c
    rows = (
        select(link.query_id, link.segment_id, clip.status)
        .join(tables.clip, clip.segment_id == link.segment_id)
        .where(link.query_id.in_(query_ids))
        .order_by(link.query_id, link.place)
    )
    found: dict[int, tuple[tuple[int, bool], ...]] = defaultdict(tuple)
    for query_id, segment_id, status in connection.execute(rows):
        found[query_id] += ((segment_id, status == "ready"),)
    return dict(found)
