"""The people and programs of a study as the teacher of a run that goes on meanwhile."""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from gymnasium.vector import VectorEnv
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from pbrl.feedback import Answers, Queries
from pbrl.queries.follower import RunStatus
from pbrl.queries.human.asking import NewQuery, add_queries
from pbrl.queries.human.changes import Change, changes
from pbrl.queries.human.database import Database
from pbrl.queries.human.episode_starts import EpisodeStarts
from pbrl.queries.human.kinds import PAIR_KINDS
from pbrl.queries.human.live_runs import LiveRun, save_run
from pbrl.queries.human.recorded import recorded_segments
from pbrl.queries.human.studies import Study, find_study
from pbrl.replay import ReplayBuffer

TOKEN_LENGTH = 8
DIGEST_LENGTH = 8
OVERLAP = 1_000
"""Answers of several processes may become visible in another order than that of their numbers; so
many of the last numbers are read again each time."""

log = logging.getLogger(__name__)
Found = TypeVar("Found")


class StudyTeacher:
    """Puts the queries of a run into a study, and brings what is answered there back.

    Nothing is lost or asked twice, whichever side stops when. A query goes into the study only when
    a checkpoint of the run holds it (`saved`), under a key that its content and its run determine,
    so that asking it again after a crash changes nothing. Answers stay in the study; which of them
    the run has had is part of its checkpoint, so that a run that falls back to an older one gets
    the later answers anew. Each answer keeps the name of who gave it; "can't tell" is a skip, and
    an answer that was taken back becomes one until there is another.

    Args:
        database: of the study.
        study: its name; it must ask about pairs, and in the run's environment if in any.
        name: of the run, for the owner's page.
        env_id: of the run's environment.
        env_options: of the run's environment.

    Raises:
        ValueError: if the study is of another kind or environment.
        NotFound: if there is no such study.
    """

    def __init__(
        self,
        database: Database,
        study: str,
        *,
        name: str,
        env_id: str,
        env_options: dict[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._database = database
        with database.reading() as connection:
            self._study = find_study(connection, study)
        _check(self._study, env_id)
        self._starts = EpisodeStarts(env_id, env_options)
        self._watched: tuple[VectorEnv[Any, Any, Any], ReplayBuffer] | None = None
        self._token = uuid.uuid4().hex[:TOKEN_LENGTH]
        self._rows: dict[str, int] = {}  # row of each query in the feedback, by key
        self._outbox: list[NewQuery] = []  # queries that no checkpoint holds, or not yet asked
        self._is_safe = False  # whether a checkpoint holds the outbox
        self._floor, self._seen = 0, set[int]()

    def __call__(self, queries: Queries, generator: torch.Generator) -> Answers:
        """Take queries to ask once they are safe, and return the answers that have come in."""
        del generator
        if len(queries):
            self._take(queries)
        self._publish()
        arrived = self._attempt(self._arrived, writes=False) or []
        self._seen |= {change.answer_id for change in arrived}
        return Answers(
            torch.tensor([self._rows[change.query_key] for change in arrived], dtype=torch.int64),
            torch.tensor([change.label for change in arrived], dtype=torch.float32),
            torch.ones(len(arrived)),
            tuple(change.annotator for change in arrived),
        )

    def watch(self, env: VectorEnv[Any, Any, Any], replay: ReplayBuffer) -> None:
        """Get to know the run's simulator, so that segments can be drawn."""
        self._watched = env, replay

    def episodes_begin(self, lanes: Sequence[int]) -> None:
        """Note how the simulator stands."""
        assert self._watched is not None  # whoever calls has called `watch`
        self._starts.note(*self._watched, lanes)

    def saved(self) -> None:
        """Ask what was taken: a checkpoint holds it."""
        self._is_safe = True
        self._publish()

    def follow(self, status: RunStatus) -> None:
        """Show on the owner's page how the run stands.

        Queries that wait for a checkpoint are still to be asked, whatever is left of the budget.
        """
        is_asking = status.is_asking or (bool(self._outbox) and not status.is_over)
        run = LiveRun(
            study_id=self._study.id,
            token=self._token,
            name=self.name,
            status=replace(status, is_asking=is_asking),
            updated_at=time.time(),
        )
        self._attempt(lambda connection: save_run(connection, run))

    def _take(self, queries: Queries) -> None:
        """Copy queries, so that the run may forget their segments."""
        where = queries.index.reshape(-1)
        recorded = recorded_segments(where, queries.segments.reshape(-1))
        # What may be drawn tomorrow and not today, the states, is no part of a query's name.
        digests = [segment.digest()[:DIGEST_LENGTH] for segment in recorded]
        if self._watched is not None:
            states = self._starts.states_before(self._watched[1], where)
            recorded = [
                replace(one, states=state) for one, state in zip(recorded, states, strict=True)
            ]
        for place, row in enumerate(queries.ids.tolist()):
            pair = slice(2 * place, 2 * place + 2)
            key = f"{self._token}/{row}/{''.join(digests[pair])}"
            self._rows[key] = row
            self._outbox.append(NewQuery(key=key, segments=recorded[pair], asked_at=queries.step))
        self._is_safe = False

    def _publish(self) -> None:
        if self._outbox and self._is_safe:
            outbox = self._outbox
            if self._attempt(lambda one: add_queries(one, self._study, outbox)) is not None:
                self._outbox = []

    def _arrived(self, connection: Connection) -> list[Change]:
        """Return what the run has not had yet, and let the oldest numbers go."""
        found = changes(connection, self._study.id, since=self._floor)
        fresh = [one for one in found if one.query_key in self._rows]
        fresh = [one for one in fresh if one.answer_id not in self._seen]
        self._floor = max((one.answer_id for one in found), default=self._floor) - OVERLAP
        self._floor = max(0, self._floor)
        self._seen = {number for number in self._seen if number > self._floor}
        return fresh

    def _attempt(self, work: Callable[[Connection], Found], *, writes: bool = True) -> Found | None:
        """Return what work in one transaction comes to; None if the database does not answer.

        The run does not stop because of that: the next look tries again.
        """
        try:
            with self._database.writing() if writes else self._database.reading() as connection:
                return work(connection)
        except OperationalError as error:
            log.warning("the study does not answer, the run goes on: %s", error.orig)
            return None

    def state_dict(self) -> dict[str, Any]:
        """Return what must agree with the run's feedback."""
        return {
            "token": self._token,
            "rows": dict(self._rows),
            "floor": self._floor,
            "seen": sorted(self._seen),
            "starts": self._starts.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._token, self._rows = state["token"], dict(state["rows"])
        self._floor, self._seen = int(state["floor"]), set(state["seen"])
        self._outbox, self._is_safe = [], False
        self._starts.load_state_dict(state["starts"])


def _check(study: Study, env_id: str) -> None:
    config = study.config
    if config.kind not in PAIR_KINDS:
        raise ValueError(f"a run asks about pairs; study {study.name} asks for {config.kind}s")
    if config.env is not None and config.env != env_id:
        raise ValueError(f"study {study.name} shows {config.env}, the run is on {env_id}")
