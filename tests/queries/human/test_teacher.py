import math

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError

from pbrl.feedback import FeedbackStore, Queries
from pbrl.queries.follower import Follower, RunStatus
from pbrl.queries.human import Database, hand_out, record_answer, sqlite_url, tables, undo_answer
from pbrl.queries.human.asking import read_segments
from pbrl.queries.human.errors import NotFound
from pbrl.queries.human.live_runs import list_runs
from pbrl.queries.human.teacher import StudyTeacher
from pbrl.queries.teachers import LateTeacher
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

NOTHING = torch.zeros(0, dtype=torch.int64)


class Run:
    """The side of a run: a store, and a teacher out of a study."""

    def __init__(self, bench, number=4):
        self.bench = bench
        generator = torch.Generator().manual_seed(0)
        self.replay = ReplayBuffer(100, 3, 2)
        for step in range(100):
            values = torch.rand(1, 6, generator=generator)
            self.replay.add(
                values[:, :3],
                values[:, 3:5],
                torch.zeros(1),
                values[:, 5],
                values[:, :3],
                torch.tensor([False]),
                torch.tensor([step % 20 == 19]),
            )
        self.feedback = FeedbackStore()
        self.teacher = self.new_teacher()
        index = self.replay.sample_segments(2 * number, 5, generator).reshape(number, 2)
        self.ids = self.feedback.ask(index, 70)

    def new_teacher(self):
        return StudyTeacher(self.bench.database, "hop", name="run", env_id="gym/Hopper-v5")

    def queries(self, ids):
        index = self.feedback.index(ids)
        return Queries(ids, index, self.replay.gather(index), step=70)

    def put(self, ids, teacher=None):
        answers = (teacher or self.teacher)(self.queries(ids), torch.Generator())
        self.feedback.answer(answers)
        return answers

    def poll(self):
        return self.put(NOTHING)

    def keys(self):
        with self.bench.database.writing() as connection:
            connection.execute(update(tables.query).values(is_ready=True))
            rows = select(tables.query.c.key).order_by(tables.query.c.position)
            return list(connection.execute(rows).scalars())


@pytest.fixture
def run(bench):
    return Run(bench)


def test_it_is_a_teacher_who_answers_later_and_follows_the_run(run):
    assert isinstance(run.teacher, LateTeacher)
    assert isinstance(run.teacher, Follower)


def test_nothing_is_asked_before_a_checkpoint_holds_it(run):
    assert len(run.put(run.ids)) == 0
    assert len(run.poll()) == 0
    assert run.keys() == []
    run.teacher.saved()
    assert len(run.keys()) == 4


def test_labels_come_back_with_their_names_about_the_runs_own_order(run, bench):
    run.put(run.ids)
    run.teacher.saved()
    keys = run.keys()
    ada, ben = bench.invite("ada"), bench.invite("ben", "program")
    for _ in range(2):
        bench.label(ada, lambda one: {"label": float(one.order[0] == 0)})  # the query's second
    bench.label(ben, lambda _: None)
    answers = run.poll()
    assert answers.annotators == ("ada", "ada", "ben")
    assert answers.labels[:2].tolist() == [1.0, 1.0]
    assert math.isnan(answers.labels[2])
    assert [f"/{row}/" in keys[row] for row in answers.ids.tolist()] == [True] * 3
    assert (run.feedback.num_labelled, run.feedback.num_skipped) == (2, 1)
    assert len(run.poll()) == 0


def test_the_study_holds_the_segments_themselves(run, bench):
    run.put(run.ids)
    run.teacher.saved()
    segments = run.replay.gather(run.feedback.index(run.ids))
    with bench.database.reading() as connection:
        query_id = connection.execute(select(func.min(tables.query.c.id))).scalar_one()
        recorded = read_segments(connection, query_id)
    for place, one in enumerate(recorded):
        np.testing.assert_array_equal(one.observations, segments.observations[0, place])
        np.testing.assert_array_equal(one.actions, segments.actions[0, place])
        np.testing.assert_array_equal(one.true_rewards, segments.true_rewards[0, place])


def test_asking_again_after_a_crash_asks_nothing_twice(run):
    run.put(run.ids)
    state = run.teacher.state_dict()
    run.teacher.saved()
    keys = run.keys()
    again = run.new_teacher()
    again.load_state_dict(state)
    run.put(run.feedback.pending(), again)
    again.saved()
    assert run.keys() == keys


def test_states_are_no_part_of_a_querys_name(run):
    """A resumed run may not find the states that it found before, or find more."""
    run.put(run.ids)
    state = run.teacher.state_dict()
    run.teacher.saved()
    keys = run.keys()
    again = run.new_teacher()
    again.load_state_dict(state)
    again.watch(VectorEnv(), run.replay)
    index = run.feedback.index(run.ids).reshape(-1)
    found = [{"physics": np.zeros((1, 2))} for _ in range(len(index))]
    again._starts.states_before = lambda *_: found
    run.put(run.feedback.pending(), again)
    again.saved()
    assert run.keys() == keys


def test_a_query_of_another_content_is_another_query(run):
    """As when the run falls back to a checkpoint from before it was asked."""
    run.put(run.ids)
    state = run.teacher.state_dict()
    run.teacher.saved()
    keys = run.keys()
    other = Run(run.bench)
    moved = other.feedback.index(other.ids)
    other.feedback = FeedbackStore()
    other.ids = other.feedback.ask(SegmentIndex(moved.episode, moved.start, moved.length - 1), 80)
    other.teacher.load_state_dict(state | {"rows": {}})
    other.put(other.ids)
    other.teacher.saved()
    assert len(set(run.keys())) == 2 * len(keys)


def test_what_came_after_the_checkpoint_comes_again(run, bench):
    run.put(run.ids)
    run.teacher.saved()
    run.keys()
    ada = bench.invite("ada")
    bench.label(ada, lambda _: {"label": 0})
    assert len(run.poll()) == 1
    teacher_state, store_state = run.teacher.state_dict(), run.feedback.state_dict()
    bench.label(ada, lambda _: {"label": 0.5})
    assert len(run.poll()) == 1
    run.teacher = run.new_teacher()
    run.teacher.load_state_dict(teacher_state)
    run.feedback.load_state_dict(store_state)
    assert run.poll().labels.tolist() == [0.5]
    assert run.feedback.num_labelled == 2


def test_an_answer_taken_back_is_a_skip_until_there_is_another(run, bench):
    run.put(run.ids)
    run.teacher.saved()
    run.keys()
    ada = bench.invite("ada")
    bench.label(ada, lambda _: {"label": 1})
    run.poll()
    with bench.database.writing() as connection:
        undo_answer(connection, ada, key="back", now=bench.now)
    run.poll()
    assert (run.feedback.num_labelled, run.feedback.num_skipped) == (0, 1)
    bench.label(ada, lambda _: {"label": 0.5})
    run.poll()
    assert (run.feedback.num_labelled, run.feedback.num_ties) == (1, 1)


def test_several_people_may_answer_a_query(make_bench):
    bench = make_bench(labels_per_query=2)
    run = Run(bench, number=1)
    run.put(run.ids)
    run.teacher.saved()
    run.keys()
    for name in ("ada", "ben"):
        bench.label(bench.invite(name), lambda _: {"label": 0.5})
    run.poll()
    assert run.feedback.num_labelled == 2
    assert set(run.feedback.annotators) == {"ada", "ben"}


def test_gold_questions_and_repeats_teach_nothing(make_bench):
    bench = make_bench(gold_every=1, repeat_every=1, repeat_gap=0)
    bench.ask(2, gold={"label": 1}, prefix="gold")
    run = Run(bench)
    run.put(run.ids)
    run.teacher.saved()
    run.keys()
    ada = bench.invite("ada")
    purposes = [bench.label(ada, lambda _: {"label": 1}).purpose for _ in range(8)]
    assert {"gold", "repeat", "plain"} == set(purposes)
    assert len(run.poll()) == purposes.count("plain")


def test_answers_of_other_runs_are_left_to_them(run, bench):
    other = Run(bench)
    for one in (run, other):
        one.put(one.ids)
        one.teacher.saved()
    run.keys()
    ada = bench.invite("ada")
    while bench.label(ada, lambda _: {"label": 1}):
        pass
    assert sorted(run.poll().ids.tolist()) == [0, 1, 2, 3]
    assert sorted(other.poll().ids.tolist()) == [0, 1, 2, 3]


def test_a_study_that_does_not_answer_stops_nobody(run, bench, monkeypatch):
    run.put(run.ids)

    def fail():
        raise OperationalError("SELECT", {}, Exception("database is locked"))

    with monkeypatch.context() as patch:
        patch.setattr(bench.database, "writing", fail)
        patch.setattr(bench.database, "reading", fail)
        run.teacher.saved()
        assert len(run.poll()) == 0
    assert len(run.poll()) == 0  # asks what it could not ask before
    assert len(run.keys()) == 4


def test_owners_see_how_the_run_stands(run, bench):
    status = RunStatus(step=5, steps=9, num_asked=4, num_labelled=1, curve=((3, -1.5, 0),))
    for one in (
        status,
        RunStatus(step=9, steps=9, num_asked=4, num_labelled=4, is_asking=False, is_over=True),
    ):
        run.teacher.follow(one)
        with bench.database.reading() as connection:
            (found,) = list_runs(connection, bench.study.id)
        assert (found.name, found.status) == ("run", one)


def test_a_run_asks_as_long_as_queries_wait_for_a_checkpoint(run, bench):
    """Or who labels would go home between the last session and its checkpoint."""

    def is_asking(**changes):
        status = RunStatus(step=5, steps=9, num_asked=4, num_labelled=0, is_asking=False, **changes)
        run.teacher.follow(status)
        with bench.database.reading() as connection:
            (found,) = list_runs(connection, bench.study.id)
        return found.status.is_asking

    run.put(run.ids)
    assert is_asking()
    assert not is_asking(is_over=True)
    run.teacher.saved()
    assert not is_asking()


@pytest.mark.parametrize(
    ("config", "reason"), [({"kind": "rating"}, "pairs"), ({"env": "dmc/walker-walk"}, "shows")]
)
def test_studies_that_do_not_fit_are_refused(make_bench, config, reason):
    with pytest.raises(ValueError, match=reason):
        Run(make_bench(**config))


def test_a_study_that_is_not_there_is_named(tmp_path):
    database = Database(sqlite_url(tmp_path / "study.db"))
    with pytest.raises(NotFound, match="walk"):
        StudyTeacher(database, "walk", name="run", env_id="gym/Hopper-v5")
    database.close()


def test_the_study_is_served_while_the_run_asks(run, bench):
    """Queries that come later are handed out like those from the beginning."""
    run.put(run.ids[:1])
    run.teacher.saved()
    run.keys()
    ada = bench.invite("ada")
    bench.label(ada, lambda _: {"label": 1})
    assert bench.label(ada, lambda _: {"label": 1}) is None
    run.put(run.ids[1:])
    run.teacher.saved()
    run.keys()
    with bench.database.writing() as connection:
        (task,) = hand_out(connection, ada, now=bench.now)
        record_answer(connection, ada, task.id, {"label": 0}, key="late", now=bench.now)
    run.poll()
    assert run.feedback.num_labelled == 2
