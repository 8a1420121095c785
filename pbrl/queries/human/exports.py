"""A study's answers for other programs: CSV, Parquet, and pairs that hold their segments."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from pbrl.queries.human.answers import current_answers
from pbrl.queries.human.asking import read_segments
from pbrl.queries.human.kinds import PAIR_KINDS, describe
from pbrl.queries.human.labels import Aggregate, aggregated_labels
from pbrl.queries.human.records import read_places
from pbrl.queries.human.studies import Study
from pbrl.queries.human.votes import first_answers


def write_pairs(
    connection: Connection, study: Study, path: Path, aggregate: Aggregate = "each"
) -> int:
    """Write labelled pairs with their segments to an `.npz` file and return how many.

    The keys are obs_1, obs_2, action_1, action_2 and label (the probability that the second is
    preferred), as in the files of Hejna and Sadigh 2023. `pbrl fit` and `pbrl label` read it, and
    nothing else is needed to learn from it.

    Raises:
        ValueError: if nothing is labelled yet, or the segments differ in length.
    """
    answers = first_answers(current_answers(connection, study.id))
    labels = [one for one in aggregated_labels(answers, aggregate) if not np.isnan(one.label)]
    if not labels:
        raise ValueError(f"study {study.name} has no labels yet")
    pairs = [read_segments(connection, label.query_id) for label in labels]
    lengths = {len(segment) for pair in pairs for segment in pair}
    if len(lengths) > 1:
        raise ValueError(f"a file of pairs takes segments of one length, got {sorted(lengths)}")
    arrays = {"label": np.array([label.label for label in labels])}
    for place in (0, 1):
        arrays[f"obs_{place + 1}"] = np.stack([pair[place].observations for pair in pairs])
        arrays[f"action_{place + 1}"] = np.stack([pair[place].actions for pair in pairs])
    np.savez_compressed(path, allow_pickle=False, **arrays)
    return len(labels)


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
