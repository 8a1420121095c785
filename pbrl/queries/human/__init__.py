"""People as teachers: studies, the labels that people give, and what becomes of them."""

from pbrl.queries.human.answers import current_answers, record_answer, undo_answer
from pbrl.queries.human.asking import NewQuery, add_queries
from pbrl.queries.human.assignments import hand_out
from pbrl.queries.human.database import Database, sqlite_url
from pbrl.queries.human.people import invite
from pbrl.queries.human.recorded import RecordedSegment
from pbrl.queries.human.studies import StudyConfig, create_study, find_study

__all__ = [
    "Database",
    "NewQuery",
    "RecordedSegment",
    "StudyConfig",
    "add_queries",
    "create_study",
    "current_answers",
    "find_study",
    "hand_out",
    "invite",
    "record_answer",
    "sqlite_url",
    "undo_answer",
]
