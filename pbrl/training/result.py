"""The record of a finished run: what was run, what it cost, how well it did."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pbrl.training.files import parse_json, plain, read_text, write_json

SCHEMA = 1
CONTROLS = ("none", "shuffled-labels", "flipped-labels")
SUCCESS, NORMALIZED_RETURN = "success", "normalized_return"
LABEL_ACCURACY, LOG_LIKELIHOOD = "label_accuracy", "log_likelihood"
RATES = {SUCCESS: "success rate", LABEL_ACCURACY: "accuracy on held-out labels"}
Point = tuple[int, float, int]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run, as `result.json` holds it and as the records of a benchmark hold it.

    Attributes:
        suite: name of the benchmark suite, or empty.
        agent: name of the method, such as `qpa`.
        env: environment id; None for a dataset without an environment.
        dataset: name of the dataset of an offline run.
        seed: of everything that was drawn.
        control: `none`, or how the labels were spoilt to see whether the method needs them.
        steps: environment steps, or updates of an offline run.
        labels_asked: queries put to the teacher.
        labels_given: those answered, ties included, skips not.
        score_name: `return`, `success` (a rate in [0, 1]) or `normalized_return`; without an
            environment `label_accuracy` or `log_likelihood`.
        score: mean of the last `score_evaluations` points of the curve, never the best.
        score_evaluations: how many evaluations the score is the mean of.
        curve: `(step, score, labels asked)` of each evaluation, by step.
        random_score: of a policy that acts at random.
        oracle_score: of the same agent on the true reward.
        wall_seconds: time the run took, all its parts together when it was resumed.
        updates_per_second: agent updates per second of training.
        versions: of Python and the packages.
        machine: `cpu`, `cores` and `gpu`, nothing that names the machine.
        commit: of the package, when it ran from a checkout.
        config: the run's configuration.
        environment: what exactly was simulated, see `pbrl.envs.EnvRecord`.
        options: the options that a benchmark suite gave to the run.
        measures: `(step, value)` of whatever else the evaluations measured, by its name in
            `metrics.csv`, such as `reward/correlation`. Older records lack it.
        seeds_together: seeds that computed together with this one, itself among them: the seconds
            are those of all. 1 in older records.
        schema: version of this list of fields.
    """

    agent: str
    env: str | None
    seed: int
    steps: int
    labels_asked: int
    labels_given: int
    score_name: str
    score: float
    score_evaluations: int
    curve: tuple[Point, ...]
    wall_seconds: float
    updates_per_second: float
    versions: dict[str, str]
    machine: dict[str, Any]
    config: dict[str, Any]
    suite: str = ""
    dataset: str | None = None
    control: str = "none"
    random_score: float | None = None
    oracle_score: float | None = None
    commit: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    seeds_together: int = 1
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        _check(plain(self), "the result")

    @property
    def task(self) -> str:
        """What the run is compared on: the dataset, or online the environment."""
        return self.dataset or self.env or ""

    def save(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        write_json(path, self)

    @staticmethod
    def load(path: Path) -> "Result":
        """Read a record.

        Raises:
            ValueError: naming the file, the key, what was expected and what came.
        """
        return Result.parse(read_text(path), str(path))

    @staticmethod
    def parse(text: str, source: str) -> "Result":
        """Return the record in the text of such a file.

        Args:
            text: of the file.
            source: what errors call it.

        Raises:
            ValueError: naming the source, the key, what was expected and what came.
        """
        data = parse_json(text, source)
        if isinstance(data, dict):
            data.setdefault("measures", {})  # older records lack both
            data.setdefault("seeds_together", 1)
        _check(data, source)
        data["measures"] = {
            name: tuple((step, float(value)) for step, value in points)
            for name, points in data["measures"].items()
        }
        data["curve"] = tuple((step, float(score), labels) for step, score, labels in data["curve"])
        for name in _FLOATS:
            data[name] = None if data[name] is None else float(data[name])
        return Result(**data)


def final_score(curve: Sequence[Point], num_evaluations: int) -> float:
    """Return the mean score of the last evaluations; of all when there are fewer.

    Raises:
        ValueError: if there is no evaluation.
    """
    if not curve or num_evaluations < 1:
        raise ValueError(
            f"a score needs at least one evaluation, got {len(curve)} "
            f"and the mean of {num_evaluations}"
        )
    last = [score for _, score, _ in curve[-num_evaluations:]]
    return sum(last) / len(last)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_curve(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    for point in value:
        if not isinstance(point, list | tuple) or [*map(_is_number, point)] != [True] * 3:
            return False
        if not (_is_count(point[0]) and _is_count(point[2])):
            return False
    steps = [point[0] for point in value]
    return steps == sorted(steps)


def _are_measures(value: Any) -> bool:
    """Return whether it has a list of [step, value] under each name."""
    if not isinstance(value, dict):
        return False
    return all(
        isinstance(points, list | tuple)
        and all(
            isinstance(point, list | tuple)
            and len(point) == len(("step", "value"))
            and _is_count(point[0])
            and _is_number(point[1])
            for point in points
        )
        for points in value.values()
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_number_or_null(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


_FLOATS = ("score", "wall_seconds", "updates_per_second", "random_score", "oracle_score")
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "schema": (lambda value: value == SCHEMA, f"{SCHEMA}, the schema this version reads"),
    "suite": (lambda value: isinstance(value, str), "a text"),
    "agent": (_is_name, "a name"),
    "env": (lambda value: value is None or _is_name(value), "an environment id or null"),
    "dataset": (_is_text_or_null, "a text or null"),
    "seed": (_is_count, "an integer from 0"),
    "control": (lambda value: value in CONTROLS, f"one of {', '.join(CONTROLS)}"),
    "steps": (_is_count, "an integer from 0"),
    "labels_asked": (_is_count, "an integer from 0"),
    "labels_given": (_is_count, "an integer from 0"),
    "score_name": (_is_name, "a name"),
    "score": (_is_number, "a finite number"),
    "score_evaluations": (lambda value: _is_count(value) and value > 0, "an integer from 1"),
    "curve": (_is_curve, "a list of [step, score, labels] by step"),
    "random_score": (_is_number_or_null, "a finite number or null"),
    "oracle_score": (_is_number_or_null, "a finite number or null"),
    "wall_seconds": (_is_number, "a finite number"),
    "updates_per_second": (_is_number, "a finite number"),
    "versions": (_is_object, "an object"),
    "machine": (
        lambda value: _is_object(value) and set(value) <= {"cpu", "cores", "gpu"},
        "an object of cpu, cores and gpu alone",
    ),
    "commit": (_is_text_or_null, "a text or null"),
    "config": (_is_object, "an object"),
    "environment": (_is_object, "an object"),
    "options": (_is_object, "an object"),
    "measures": (_are_measures, "lists of [step, value] by name"),
    "seeds_together": (lambda value: _is_count(value) and value > 0, "an integer from 1"),
}


def _check(data: Any, source: str) -> None:
    """Raise ValueError naming the first thing that is wrong in a record."""
    if not isinstance(data, dict):
        raise ValueError(f"{source}: expected an object, got {_short(data)}")
    unknown = [name for name in data if name not in _FIELDS]
    if unknown:
        raise ValueError(f"{source}: {unknown[0]}: no such field in schema {SCHEMA}")
    for name, (is_legal, expected) in _FIELDS.items():
        if name not in data:
            raise ValueError(f"{source}: {name}: expected {expected}, got nothing")
        if not is_legal(data[name]):
            raise ValueError(f"{source}: {name}: expected {expected}, got {_short(data[name])}")
    if not (data["env"] or data["dataset"]):
        raise ValueError(f"{source}: env: expected an environment id or a dataset, got neither")
    rate = RATES.get(data["score_name"])
    if rate is not None:
        for score in (data["score"], *(point[1] for point in data["curve"])):
            if not 0.0 <= score <= 1.0:
                raise ValueError(f"{source}: score: expected a {rate} in [0, 1], got {score}")


def _short(value: Any) -> str:
    text = json.dumps(value, default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004  one line of a terminal


assert set(_FIELDS) == {item.name for item in fields(Result)}
