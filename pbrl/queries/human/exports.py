"""A study's answers for other programs: CSV, Parquet, and pairs that hold their segments."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sqlalchemy import Connection

from pbrl.offline.labels.export import save_pairs
from pbrl.queries.human.answers import GivenAnswer, current_answers
from pbrl.queries.human.asking import read_segments
from pbrl.queries.human.kinds import PAIR_KINDS, describe
from pbrl.queries.human.labels import Aggregate, QueryLabel, aggregated_labels
from pbrl.queries.human.recorded import RecordedSegment
from pbrl.queries.human.records import read_places
from pbrl.queries.human.studies import Study
from pbrl.queries.human.votes import first_answers
from pbrl.segments import Segments


def write_pairs(
    connection: Connection, study: Study, path: Path, aggregate: Aggregate = "each"
) -> int:
    """Write labelled pairs with their segments to an `.npz` file and return how many.

    A ranking of K segments counts as its K (K - 1) / 2 pairs, by whoever ranked them.

    The keys are obs_1, obs_2, action_1, action_2 and label (the probability that the second is
    preferred), as in the files of Hejna and Sadigh 2023, annotator and, where they differ, weight.
    `pbrl fit` and `pbrl label` read it, and
    nothing else is needed to learn from it.

    Raises:
        ValueError: if nothing is labelled yet, the segments differ in length, or the study has
            ratings, which are of single segments.
    """
    if study.config.kind == "rating":
        raise ValueError(f"study {study.name} has ratings of single segments, and no pairs")
    answers = first_answers(current_answers(connection, study.id))
    if study.config.kind == "ranking":
        rows = [pair for answer in answers for pair in _ranked_pairs(connection, answer)]
    else:
        labels = [one for one in aggregated_labels(answers, aggregate) if not np.isnan(one.label)]
        rows = [(read_segments(connection, one.query_id), one) for one in labels]
    lists = [pair for pair, _ in rows]
    _check_lengths(study, lists)
    observations = np.array([[segment.observations for segment in pair] for pair in lists])
    actions = np.array([[segment.actions for segment in pair] for pair in lists])
    shape = observations.shape[:-1]
    segments = Segments(
        torch.from_numpy(observations),
        torch.from_numpy(actions),
        torch.ones(shape, dtype=torch.bool),
        torch.zeros(shape),
    )
    save_pairs(
        path,
        segments,
        np.array([label.label for _, label in rows]),
        weights=np.array([label.weight for _, label in rows]),
        annotators=[label.annotator for _, label in rows],
    )
    return len(rows)


def write_graded(connection: Connection, study: Study, path: Path) -> int:
    """Write ratings or rankings with their segments to an `.npz` file and return how many.

    `pbrl.graded_file.load_graded` reads it, and says what it holds.

    Raises:
        ValueError: if the study has pairs, nothing is graded yet, or the segments differ in length.
    """
    if study.config.kind in PAIR_KINDS:
        raise ValueError(f"study {study.name} has pairs, which have no grades")
    is_rating = study.config.kind == "rating"
    answers = first_answers(current_answers(connection, study.id))
    told = [answer for answer in answers if answer.value is not None]
    lists = [read_segments(connection, answer.query_id) for answer in told]
    _check_lengths(study, lists)
    grades = np.array([_grades(answer) for answer in told])
    arrays = {
        "obs": np.array([[segment.observations for segment in one] for one in lists]),
        "action": np.array([[segment.actions for segment in one] for one in lists]),
        "grade": grades,
    }
    if is_rating:
        arrays = {name: array[:, 0] for name, array in arrays.items()}
        arrays["num_classes"] = np.array(len(study.config.classes))
    arrays["annotator"] = np.array([answer.annotator for answer in told])
    np.savez_compressed(path, allow_pickle=False, **arrays)
    return len(told)


def _ranked_pairs(
    connection: Connection, answer: GivenAnswer
) -> list[tuple[list[RecordedSegment], QueryLabel]]:
    """Return every pair of a ranking, in the query's own order, with its label."""
    if answer.value is None:
        return []
    segments, grades = read_segments(connection, answer.query_id), _grades(answer)
    return [
        (
            [segments[first], segments[second]],
            QueryLabel(
                query_id=answer.query_id,
                label=float(grades[second] > grades[first]),
                weight=1.0,
                annotator=answer.annotator,
                time=answer.answered_at,
            ),
        )
        for first, second in combinations(range(len(segments)), 2)
    ]


def _grades(answer: GivenAnswer) -> list[int]:
    """Return the class of a rating, or what each segment of a ranking is worth: 0 the worst."""
    value = answer.value or {}
    if "rating" in value:
        return [value["rating"]]
    order = value["ranking"]
    return [len(order) - 1 - order.index(place) for place in range(len(order))]


def _check_lengths(study: Study, lists: Sequence[Sequence[RecordedSegment]]) -> None:
    if not lists:
        raise ValueError(f"study {study.name} has no labels yet")
    lengths = {len(segment) for one in lists for segment in one}
    if len(lengths) > 1:
        raise ValueError(f"a file takes segments of one length, got {sorted(lengths)}")


def answer_table(connection: Connection, study: Study) -> list[dict[str, Any]]:
    """Return one flat row for each answer that counts, gold questions and repeats included.

    `value` is the answer itself as JSON, about the query's own order of segments; `answer` says it
    in words.
    """
    places = read_places(connection, study, is_gold=None)
    rows = {query_id: row for row, query_id in enumerate(places.query_ids)}
    table = []
    for answer in current_answers(connection, study.id):
        row: dict[str, Any] = {"query": answer.query_key}
        index = places.index[rows[answer.query_id]]
        for place in range(len(index)):
            for name in ("episode", "start", "length"):
                row[f"{name}_{place}"] = int(getattr(index, name)[place])
        if study.config.kind in PAIR_KINDS:
            row["label"] = "skip" if answer.value is None else answer.value["label"]
        row |= {
            "annotator": answer.annotator,
            "time": datetime.fromtimestamp(answer.answered_at, UTC).isoformat(),
            "purpose": answer.purpose,
            "answer": describe(study.config.kind, answer.value, study.config.classes),
            "value": json.dumps(answer.value),
            "gold": None if answer.gold is None else json.dumps(answer.gold),
            "shown_order": " ".join(map(str, answer.order)),
            "seconds": answer.seconds,
        }
        table.append(row)
    return table


def table_as_csv(table: Sequence[Mapping[str, Any]]) -> str:
    """Return a table as CSV with a header; the empty table has neither."""
    text = io.StringIO(newline="")
    if table:
        writer = csv.DictWriter(text, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return text.getvalue()


def table_as_parquet(table: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a table as a Parquet file.

    Raises:
        ImportError: if pyarrow is not there.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise ImportError("Parquet needs the package pyarrow: pip install pyarrow") from None
    rows = [{**row, "label": str(row["label"])} if "label" in row else dict(row) for row in table]
    file = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(rows), file)
    return file.getvalue()
