"""Studies: what is asked, how often, and of whom."""

import dataclasses
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, insert, select, update

from pbrl.dataset_identity import DatasetIdentity
from pbrl.lookup import suggest
from pbrl.queries.human import tables
from pbrl.queries.human.errors import Conflict, NotFound
from pbrl.queries.human.kinds import KINDS, FeedbackKind

StudyState = Literal["open", "paused", "closed"]

_DRAWN = "drawn"  # the event that notes a dataset
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MAX_TEXT = 20_000
_MAX_ITEMS = 9  # segments of a ranking and classes of a rating: one key each
_NUM_SEGMENTS = {"pair": 2, "moment": 2, "rating": 1}
_NOT_NEGATIVE = ("gold_every", "repeat_every", "repeat_gap")
_POSITIVE = ("labels_per_query", "lease_seconds", "frames_per_second")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What a study asks of its annotators.

    Attributes:
        kind: of feedback, see `pbrl.queries.human.kinds`.
        task: one line that says what the robot should do.
        instructions: what annotators should look at, in Markdown-free text; empty lines separate
            paragraphs.
        env: environment id to draw the segments in; None draws their numbers.
        camera: name or number of a camera; None for the environment's usual one.
        frames_per_second: pace of the clips; one frame for each step.
        frame_size: height and width of the clips in pixels, even.
        ranking_size: segments of a ranking, 2 to 9.
        classes: names of the classes of a rating, from worst to best, 2 to 9.
        labels_per_query: annotators that each query is given to.
        gold_every: one gold question, if there are any, for so many other queries; 0 for none.
        repeat_every: one query of the annotator's own again, in another order, for so many other
            queries, to see whether the answer stays; 0 for none.
        repeat_gap: queries that lie at least between the two.
        lease_seconds: how long a query is kept for an annotator who does not answer.
    """

    kind: FeedbackKind = "pair"
    task: str = ""
    instructions: str = ""
    env: str | None = None
    camera: str | int | None = None
    frames_per_second: int = 30
    frame_size: tuple[int, int] = (360, 480)
    ranking_size: int = 4
    classes: tuple[str, ...] = ("very bad", "bad", "good", "very good")
    labels_per_query: int = 1
    gold_every: int = 10
    repeat_every: int = 20
    repeat_gap: int = 5
    lease_seconds: int = 600

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")
        for name in _POSITIVE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        self._check_sizes()

    def _check_sizes(self) -> None:
        if not 2 <= self.ranking_size <= _MAX_ITEMS:  # noqa: PLR2004  a list has two
            raise ValueError(f"ranking_size must be 2 to {_MAX_ITEMS}, got {self.ranking_size}")
        if not 2 <= len(self.classes) <= _MAX_ITEMS:  # noqa: PLR2004
            raise ValueError(f"classes must be 2 to {_MAX_ITEMS} names, got {self.classes}")
        if min(self.frame_size) < 2 or any(side % 2 for side in self.frame_size):  # noqa: PLR2004
            raise ValueError(f"frame_size must be two even numbers, got {self.frame_size}")
        for name in ("task", "instructions"):
            if len(getattr(self, name)) > _MAX_TEXT:
                raise ValueError(f"{name} must have at most {_MAX_TEXT} characters")

    @property
    def num_segments(self) -> int:
        """How many segments a query shows."""
        return _NUM_SEGMENTS.get(self.kind, self.ranking_size)

    def plain(self) -> dict[str, Any]:
        """Return the configuration as JSON knows it."""
        fields = dataclasses.asdict(self)
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "StudyConfig":
        """Return the configuration that `plain` was made of; fields it lacks take their default."""
        names = {field.name for field in dataclasses.fields(cls)}
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in plain.items()
            if key in names
        }
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as it stands in the database.

    Attributes:
        id: its number.
        name: unique in the database.
        config: what it asks.
        state: "open" hands out queries; "paused" and "closed" do not. Answers to queries that were
            handed out are always taken.
        created_at: seconds since 1970.
    """

    id: int
    name: str
    config: StudyConfig
    state: StudyState
    created_at: float


def check_name(name: str) -> None:
    """Refuse what is no name of a study, which is also that of its folder.

    Raises:
        ValueError: saying what a name is.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            "the name of a study has 1 to 64 letters, digits, dots, dashes and underscores and "
            f"starts with a letter or digit, got {name!r}"
        )


def create_study(connection: Connection, name: str, config: StudyConfig) -> Study:
    """Start a study without queries.

    Raises:
        ValueError: if the name is not one for a folder.
        Conflict: if there is a study of that name.
    """
    check_name(name)
    if connection.execute(select(tables.study.c.id).where(tables.study.c.name == name)).first():
        raise Conflict(f"there is a study {name!r} already")
    row = {"name": name, "config": config.plain(), "state": "open", "created_at": time.time()}
    connection.execute(insert(tables.study).values(**row))
    study = find_study(connection, name)
    record_event(connection, study.id, "created", {"kind": config.kind})
    return study


def find_study(connection: Connection, name: str | int) -> Study:
    """Return a study by name or number.

    Raises:
        NotFound: if there is none.
    """
    column = tables.study.c.name if isinstance(name, str) else tables.study.c.id
    row = connection.execute(select(tables.study).where(column == name)).mappings().first()
    if row is None:
        names = [study.name for study in list_studies(connection)]
        known = ", ".join(names) or "none"
        raise NotFound(f"there is no study {name!r}{suggest(str(name), names)} (known: {known})")
    return _study(row)


def list_studies(connection: Connection) -> list[Study]:
    """Return every study, oldest first."""
    rows = connection.execute(select(tables.study).order_by(tables.study.c.id)).mappings()
    return [_study(row) for row in rows]


def set_state(connection: Connection, study_id: int, state: StudyState) -> None:
    """Open, pause or close a study."""
    row = tables.study.c.id == study_id
    connection.execute(update(tables.study).where(row).values(state=state))
    record_event(connection, study_id, state, {})


def lock_study(connection: Connection, study_id: int) -> None:
    """Wait until no other transaction changes this study's queries; SQLite has one writer anyway.

    The lock does not stop answers from being inserted, which only refer to the study.
    """
    row = select(tables.study.c.id).where(tables.study.c.id == study_id)
    connection.execute(row.with_for_update(key_share=True))


def record_event(
    connection: Connection,
    study_id: int,
    kind: str,
    detail: Mapping[str, Any],
    annotator_id: int | None = None,
) -> None:
    """Write down that something happened."""
    connection.execute(
        insert(tables.happening).values(
            study_id=study_id,
            annotator_id=annotator_id,
            kind=kind,
            detail=dict(detail),
            created_at=time.time(),
        )
    )


def note_dataset(connection: Connection, study_id: int, dataset: DatasetIdentity) -> None:
    """Write down whose episodes the study's queries name."""
    record_event(connection, study_id, _DRAWN, dataset.plain())


def noted_dataset(connection: Connection, study_id: int) -> DatasetIdentity | None:
    """Return whose episodes the study's queries name; None if that was not noted or is several."""
    event = tables.happening.c
    rows = select(event.detail).where(event.study_id == study_id, event.kind == _DRAWN)
    noted = {DatasetIdentity.from_plain(detail) for (detail,) in connection.execute(rows)}
    return noted.pop() if len(noted) == 1 else None


def _study(row: Mapping[Any, Any]) -> Study:
    return Study(**{**row, "config": StudyConfig.from_plain(row["config"])})
