"""Runs that learn from a study while somebody answers, late and out of order."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select, update

from pbrl.queries.human import (
    Database,
    StudyConfig,
    create_study,
    hand_out,
    invite,
    record_answer,
    sqlite_url,
    tables,
)
from pbrl.queries.human.asking import read_segments
from pbrl.queries.human.live_runs import list_runs
from pbrl.queries.human.people import list_people
from pbrl.queries.human.teacher import StudyTeacher
from pbrl.queries.patience import PatienceConfig
from pbrl.queries.schedules import ScheduleConfig
from pbrl.reward_learning import RewardLearningConfig
from pbrl.training.build import build_loop
from pbrl.training.checkpoint import load_checkpoint
from pbrl.training.run import Interrupted, train


class Person:
    """Answers in a thread of its own: some queries at once, others after more came in."""

    def __init__(self, database, study, *, hold_back=5):
        self.database = database
        self.hold_back = hold_back
        with database.writing() as connection:
            name = f"ada {len(list_people(connection, study.id))}"
            self.person = invite(connection, study.id, name)[0]
        self.answered = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(20)

    def _work(self):
        rng = np.random.default_rng(0)
        while not self._stop.is_set():
            held = self._held()
            ready = held if len(held) < self.hold_back else held[: -self.hold_back // 2]
            for place in rng.permutation(len(ready)).tolist():
                self._answer(ready[place])
            self._stop.wait(0.4)  # seldom enough to leave the run its time

    def _held(self):
        with self.database.writing() as connection:
            connection.execute(update(tables.query).values(is_ready=True))
            return hand_out(connection, self.person, now=time.time(), number=12)

    def _answer(self, assignment):
        with self.database.writing() as connection:
            segments = read_segments(connection, assignment.query_id)
            returns = [segments[place].true_rewards.sum() for place in assignment.order]
            value = {"label": float(returns[1] > returns[0])}
            key = str(assignment.id)
            record_answer(connection, self.person, assignment.id, value, key=key, now=time.time())
        self.answered.append(assignment.query_id)


@pytest.fixture
def study(tmp_path):
    """A study and its database."""
    database = Database(sqlite_url(tmp_path / "study.db"))
    with database.writing() as connection:
        study = create_study(
            connection, "follow", StudyConfig(gold_every=0, repeat_every=0, lease_seconds=1)
        )
    yield database, study
    database.close()


@pytest.fixture
def people_config(tiny_config):
    patience = PatienceConfig(poll_every=10, poll_seconds=0.1, labels_per_session=5)
    preferences = replace(
        tiny_config.preferences,
        study="follow",
        patience=patience,
        schedule=ScheduleConfig(
            budget=30, session_size=10, first_step=60, interval=40, total_steps=200
        ),
        learning=RewardLearningConfig(batch_size=32, passes=3),
    )
    return replace(
        tiny_config,
        steps=200,
        updates_per_step=0.2,
        eval_every=100,
        eval_episodes=2,
        preferences=preferences,
    )


def new_teacher(database):
    return StudyTeacher(database, "follow", name="run", env_id="gym/Follow-v0")


def query_keys(database):
    with database.reading() as connection:
        return list(connection.execute(select(tables.query.c.key)).scalars())


def test_a_run_learns_from_answers_that_come_late_and_out_of_order(study, people_config, tmp_path):
    database, made = study
    with Person(database, made) as ada:
        result = train(people_config, tmp_path / "run", teacher=new_teacher(database))
    assert result.labels_asked == 30
    assert result.labels_given >= 10  # a session's worth; how many more depends on the clock
    assert ada.answered != sorted(ada.answered)
    with database.reading() as connection:
        (run,) = list_runs(connection, made.id)
    assert run.status.is_over
    assert run.status.curve == result.curve
    feedback = load_checkpoint(tmp_path / "run" / "checkpoint", None)[0]["loop"]["source"][
        "feedback"
    ]
    assert feedback["names"] == [ada.person.name]


def test_a_run_whose_people_are_away_waits_and_can_be_stopped(study, people_config):
    database, _ = study
    loop = build_loop(people_config, teacher=new_teacher(database))
    for _ in range(110):
        loop.advance()
        loop.saved()
    assert loop.step == 100  # one interval after the first session
    assert loop.phase == "waiting for 20 answers"
    assert loop.source.num_asked == len(query_keys(database)) == 20


def test_stopping_and_going_on_asks_nothing_twice(study, people_config, tmp_path, monkeypatch):
    database, made = study
    out = tmp_path / "run"
    from pbrl.training import runner

    def interrupt_at(step):
        original = runner.Run.report

        def report(run):
            original(run)
            if run.loop.step >= step:
                raise KeyboardInterrupt

        return report

    for step in (75, 110):  # as abrupt as a kill: nothing is saved on the way out
        with (
            monkeypatch.context() as patch,
            Person(database, made),
        ):
            patch.setattr(runner.Run, "report", interrupt_at(step))
            resume = out.exists()
            with pytest.raises(KeyboardInterrupt) as stopped:
                train(people_config, out, teacher=new_teacher(database), resume=resume)
        assert not isinstance(stopped.value, Interrupted)
    with Person(database, made):
        result = train(people_config, out, teacher=new_teacher(database), resume=True)
    keys = query_keys(database)
    assert len(keys) == len(set(keys)) == result.labels_asked == 30
    rows = [key.split("/")[1] for key in keys]
    assert sorted(map(int, rows)) == list(range(30))
    feedback = load_checkpoint(out / "checkpoint", None)[0]["loop"]["source"]["feedback"]
    assert len(feedback["labels"]) == len(set(feedback["answered"].tolist()))


def test_nobody_stands_for_the_people(people_config):
    with pytest.raises(ValueError, match="follow"):
        build_loop(people_config)
