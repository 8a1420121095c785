"""The clips of a study: which are wanted, and which are there."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, and_, func, select, update

from pbrl.queries.human import tables
from pbrl.queries.human.assignments import Assignment
from pbrl.queries.human.errors import NotFound
from pbrl.queries.human.people import Person
from pbrl.queries.human.recorded import RecordedSegment
from pbrl.queries.human.studies import lock_study

ClipStatus = Literal["waiting", "ready", "plot"]
"""A "ready" clip is a film; a "plot" is a drawing in its place."""

CLAIM_SECONDS = 120.0
MAX_ATTEMPTS = 2
MAX_REASONS = 3

_CLIP = tables.clip.c
_LINK = tables.query_segment.c


@dataclass(frozen=True, kw_only=True)
class ClaimedClip:
    """A clip that somebody is about to draw.

    Attributes:
        segment_id: of which segment.
        study_id: of which study.
        digest: names the segment's content, and the file.
        attempts: how often it was claimed before, without an end.
        segment: what to draw.
    """

    segment_id: int
    study_id: int
    digest: str
    attempts: int
    segment: RecordedSegment


def claim_clip(connection: Connection, *, now: float) -> ClaimedClip | None:
    """Return the next clip to draw, and keep others from drawing it for a while.

    A clip whose drawer died is handed out again when the claim has ended.
    """
    free = and_(_CLIP.status == "waiting", _CLIP.claimed_until <= now)
    rows = select(_CLIP.segment_id, _CLIP.study_id, _CLIP.attempts).where(free)
    rows = rows.order_by(_CLIP.segment_id).limit(1).with_for_update(skip_locked=True)
    found = connection.execute(rows).first()
    if found is None:
        return None
    segment = tables.segment.c
    data = select(segment.digest, segment.data).where(segment.id == found.segment_id)
    content = connection.execute(data).one()
    connection.execute(
        update(tables.clip)
        .where(_CLIP.segment_id == found.segment_id)
        .values(claimed_until=now + CLAIM_SECONDS, attempts=_CLIP.attempts + 1)
    )
    return ClaimedClip(
        segment_id=found.segment_id,
        study_id=found.study_id,
        digest=content.digest,
        attempts=found.attempts,
        segment=RecordedSegment.from_bytes(content.data),
    )


def finish_clip(
    connection: Connection, clip: ClaimedClip, status: ClipStatus, file: str, reason: str = ""
) -> None:
    """Record that a clip is there; queries of which nothing else is missing can be handed out.

    Args:
        connection: a transaction that may write.
        clip: what was claimed.
        status: "ready" or "plot".
        file: its name.
        reason: why it is a drawing.
    """
    lock_study(connection, clip.study_id)
    done = update(tables.clip).where(_CLIP.segment_id == clip.segment_id)
    connection.execute(done.values(status=status, file=file, reason=reason))
    other = tables.query_segment.alias()
    missing = (
        select(other.c.query_id)
        .join(tables.clip, _CLIP.segment_id == other.c.segment_id)
        .where(other.c.query_id == tables.query.c.id, _CLIP.status == "waiting")
    )
    showing = select(_LINK.query_id).where(_LINK.segment_id == clip.segment_id)
    connection.execute(
        update(tables.query)
        .where(tables.query.c.id.in_(showing), ~missing.exists())
        .values(is_ready=True)
    )


def forget_lost_clips(connection: Connection, folder: Path) -> int:
    """Let clips whose files are gone be drawn anew, and return how many."""
    rows = select(_CLIP.segment_id, _CLIP.study_id, _CLIP.file).where(_CLIP.file.is_not(None))
    lost = [
        row.segment_id
        for row in connection.execute(rows)
        if not clip_path(folder, row.study_id, row.file).is_file()
    ]
    anew = {"status": "waiting", "file": None, "attempts": 0, "claimed_until": 0.0}
    for segment_id in lost:
        connection.execute(update(tables.clip).where(_CLIP.segment_id == segment_id).values(**anew))
        showing = select(_LINK.query_id).where(_LINK.segment_id == segment_id)
        queries = update(tables.query).where(tables.query.c.id.in_(showing))
        connection.execute(queries.values(is_ready=False))
    return len(lost)


def some_segments(connection: Connection, study_id: int, limit: int) -> Iterator[RecordedSegment]:
    """Yield up to `limit` segments of a study."""
    column = tables.segment.c
    rows = select(column.data).where(column.study_id == study_id).order_by(column.id).limit(limit)
    for data in connection.execute(rows).scalars():
        yield RecordedSegment.from_bytes(data)


def clip_counts(connection: Connection, study_id: int) -> dict[str, int]:
    """Return how many clips of a study have each status."""
    rows = select(_CLIP.status).where(_CLIP.study_id == study_id)
    counts = dict.fromkeys(("waiting", "ready", "plot"), 0)
    for status in connection.execute(rows).scalars():
        counts[status] += 1
    return counts


def drawing_reasons(
    connection: Connection, study_id: int, limit: int = MAX_REASONS
) -> dict[str, int]:
    """Return why clips of a study are drawings, with how many; the most frequent reasons."""
    number = func.count()
    rows = (
        select(_CLIP.reason, number)
        .where(_CLIP.study_id == study_id, _CLIP.status == "plot")
        .group_by(_CLIP.reason)
        .order_by(number.desc(), _CLIP.reason)
    )
    return {row[0]: row[1] for row in connection.execute(rows.limit(limit))}


def clip_file(connection: Connection, person: Person, segment_id: int, folder: Path) -> Path:
    """Return the file of a clip that somebody may see.

    Owners may see every clip of their study, others those of queries that they were given.

    Raises:
        NotFound: if there is no such clip, or it is not for this person.
    """
    assignment = tables.assignment.c
    given = (
        select(assignment.id)
        .join(tables.query_segment, _LINK.query_id == assignment.query_id)
        .where(_LINK.segment_id == _CLIP.segment_id, assignment.annotator_id == person.id)
    )
    rows = select(_CLIP.file).where(
        _CLIP.segment_id == segment_id,
        _CLIP.study_id == person.study_id,
        _CLIP.file.is_not(None),
    )
    if person.role != "owner":
        rows = rows.where(given.exists())
    name = connection.execute(rows).scalar()
    if name is None:
        raise NotFound(f"there is no clip {segment_id}")
    return clip_path(folder, person.study_id, name)


def clip_path(folder: Path, study_id: int, name: str) -> Path:
    """Return where a clip lies.

    Raises:
        NotFound: if the name is not one of a file in the study's folder of clips.
    """
    path = folder / str(study_id) / name
    if path.name != name or name.startswith("."):
        raise NotFound(f"there is no clip {name!r}")
    return path


@dataclass(frozen=True, kw_only=True)
class ShownSegment:
    """A segment as an annotator meets it.

    Attributes:
        segment_id: names its clip.
        num_steps: how long it is; a film has one frame for each step.
        is_film: whether it is shown by a film or by a drawing.
    """

    segment_id: int
    num_steps: int
    is_film: bool


def shown_segments(connection: Connection, assignment: Assignment) -> list[ShownSegment]:
    """Return the segments of an assignment in the order shown."""
    segment = tables.segment.c
    rows = (
        select(_LINK.segment_id, segment.num_steps, _CLIP.status)
        .join(tables.segment, segment.id == _LINK.segment_id)
        .join(tables.clip, _CLIP.segment_id == _LINK.segment_id)
        .where(_LINK.query_id == assignment.query_id)
        .order_by(_LINK.place)
    )
    found = [
        ShownSegment(segment_id=number, num_steps=steps, is_film=status == "ready")
        for number, steps, status in connection.execute(rows)
    ]
    return [found[place] for place in assignment.order]
