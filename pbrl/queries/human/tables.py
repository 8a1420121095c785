"""The tables of a labelling database. Answers and events are append-only; a trigger sees to it."""

from sqlalchemy import (
    DDL,
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)

SCHEMA_VERSION = 1

metadata = MetaData()

schema = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

study = Table(
    "study",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("config", JSON, nullable=False),
    Column("state", String(10), nullable=False),
    Column("created_at", Float, nullable=False),
)

# What a segment shows, each content once per study: the study needs no other file.
segment = Table(
    "segment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("study.id"), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("num_steps", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    UniqueConstraint("study_id", "digest"),
)

# The picture of a segment; the file is named by the segment's digest.
clip = Table(
    "clip",
    metadata,
    Column("segment_id", ForeignKey("segment.id"), primary_key=True),
    Column("study_id", ForeignKey("study.id"), nullable=False),
    Column("status", String(10), nullable=False),
    Column("file", String(100)),
    Column("reason", Text, nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("claimed_until", Float, nullable=False, server_default="0"),
    Index("clip_by_status", "study_id", "status", "segment_id"),
)

query = Table(
    "query",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("study.id"), nullable=False),
    Column("key", String(200), nullable=False),
    Column("position", Integer, nullable=False),
    Column("asked_at", Integer, nullable=False),
    Column("gold", JSON(none_as_null=True)),
    Column("is_gold", Boolean, nullable=False),
    Column("is_ready", Boolean, nullable=False),
    Column("num_answers", Integer, nullable=False, server_default="0"),
    UniqueConstraint("study_id", "key"),
    Index("query_by_need", "study_id", "is_gold", "is_ready", "num_answers", "position"),
)

query_segment = Table(
    "query_segment",
    metadata,
    Column("query_id", ForeignKey("query.id"), primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("segment_id", ForeignKey("segment.id"), nullable=False, index=True),
    Column("episode", Integer, nullable=False),
    Column("start", Integer, nullable=False),
)

annotator = Table(
    "annotator",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("study.id"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("role", String(10), nullable=False),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("revoked_at", Float),
    UniqueConstraint("study_id", "name"),
)

assignment = Table(
    "assignment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("study.id"), nullable=False),
    Column("query_id", ForeignKey("query.id"), nullable=False),
    Column("annotator_id", ForeignKey("annotator.id"), nullable=False),
    Column("purpose", String(10), nullable=False),
    Column("showing", Integer, nullable=False),
    Column("order", JSON, nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("leased_until", Float, nullable=False),
    Column("reopened_at", Float, nullable=False, server_default="0"),
    Column("is_released", Boolean, nullable=False),
    Column("answer_id", Integer),  # the answer that counts; none when unanswered or undone
    UniqueConstraint("annotator_id", "query_id", "showing"),
    Index("assignment_by_query", "query_id", "annotator_id"),
    Index("assignment_by_lease", "study_id", "answer_id", "leased_until"),
)

answer = Table(
    "answer",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("study.id"), nullable=False),
    Column("assignment_id", ForeignKey("assignment.id"), nullable=False),
    Column("annotator_id", ForeignKey("annotator.id"), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("is_undo", Boolean, nullable=False),
    Column("value", JSON(none_as_null=True)),
    Column("key", String(64), nullable=False),
    Column("seconds", Float),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("annotator_id", "key"),
    UniqueConstraint("assignment_id", "turn"),
    Index("answer_by_study", "study_id", "id"),
)

happening = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("study.id"), nullable=False),
    Column("annotator_id", ForeignKey("annotator.id")),
    Column("kind", String(40), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Index("event_by_kind", "study_id", "kind", "id"),
)

# A run that learns from the study's labels, as it stood last.
run = Table(
    "run",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study_id", ForeignKey("study.id"), nullable=False),
    Column("token", String(20), nullable=False),
    Column("name", String(200), nullable=False),
    Column("status", JSON, nullable=False),
    Column("updated_at", Float, nullable=False),
    UniqueConstraint("study_id", "token"),
)


def _make_append_only(table: Table) -> None:
    """Let the database itself refuse to change or delete a row."""
    name, refusal = table.name, f"rows of {table.name} are never changed or deleted"
    for verb in ("UPDATE", "DELETE"):
        trigger = f"{name}_no_{verb.lower()}"
        sqlite = (
            f"CREATE TRIGGER {trigger} BEFORE {verb} ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
        )
        event.listen(table, "after_create", DDL(sqlite).execute_if(dialect="sqlite"))
        postgresql = (
            f"CREATE FUNCTION {trigger}() RETURNS trigger AS $$ BEGIN "
            f"RAISE EXCEPTION '{refusal}'; END $$ LANGUAGE plpgsql; "
            f"CREATE TRIGGER {trigger} BEFORE {verb} ON {name} "
            f"FOR EACH ROW EXECUTE FUNCTION {trigger}()"
        )
        event.listen(table, "after_create", DDL(postgresql).execute_if(dialect="postgresql"))


for _table in (answer, happening):
    _make_append_only(_table)
