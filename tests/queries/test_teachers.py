import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbrl.feedback import Answers, FeedbackStore, Queries
from pbrl.queries.teachers import (
    TEACHERS,
    CallableTeacher,
    MixtureTeacher,
    SimulatedTeacher,
    StatefulTeacher,
    Teacher,
    TeacherConfig,
    as_labels,
    make_teacher,
)

DOCS = Path(__file__).parents[2] / "docs" / "teachers.md"


class LateTeacher:
    """Answers every query with a tie, one call later."""

    def __init__(self):
        self.waiting = torch.zeros(0, dtype=torch.int64)
        self.num_calls = 0

    def __call__(self, queries, generator):
        self.num_calls += 1
        ready, self.waiting = self.waiting, queries.ids
        return Answers.of(ready, torch.full((len(ready),), 0.5), "late")


@pytest.fixture
def queries(make_queries):
    generator = torch.Generator().manual_seed(0)
    return make_queries(*torch.randn(2, 300, 5, generator=generator))


def none_of(queries):
    none = torch.zeros(0, dtype=torch.int64)
    return Queries(none, queries.index[none], queries.segments[none])


@pytest.mark.parametrize("name", TEACHERS)
def test_make_teacher_by_name(name):
    teacher = make_teacher(name)
    assert teacher.config is TEACHERS[name]
    assert teacher.name == name


def test_make_teacher_from_a_configuration():
    config = TeacherConfig(rationality=3.0)
    assert make_teacher(config).config is config
    assert make_teacher(config).name == "simulated"
    assert make_teacher("noisy", name="anna").name == "anna"


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"unknown teacher 'mistakes'; did you mean 'mistake'.*"):
        make_teacher("mistakes")
    with pytest.raises(ValueError, match=r"unknown teacher 'xyz' \(known: oracle, noisy"):
        make_teacher("xyz")


def test_all_teachers_follow_the_protocol():
    for teacher in (make_teacher("oracle"), CallableTeacher(len), MixtureTeacher([len])):
        assert isinstance(teacher, Teacher)
    assert isinstance(make_teacher("oracle"), StatefulTeacher)
    assert not isinstance(CallableTeacher(len), StatefulTeacher)


@pytest.mark.parametrize(
    "convert",
    [
        lambda labels: labels,
        lambda labels: labels.double(),
        lambda labels: labels.numpy(),
        lambda labels: labels.tolist(),
        lambda labels: tuple(labels.tolist()),
        lambda labels: [None if math.isnan(label) else label for label in labels.tolist()],
        lambda labels: list(labels.numpy()),
        lambda labels: labels.clone().requires_grad_(),
    ],
)
def test_callable_teacher_takes_any_kind_of_labels(make_queries, generator, convert):
    labels = torch.tensor([0.0, 1.0, 0.5, math.nan, 0.25])
    queries = make_queries(torch.zeros(5, 2), torch.zeros(5, 2))
    answers = CallableTeacher(lambda segments: convert(labels), name="mine")(queries, generator)
    torch.testing.assert_close(answers.labels, labels, equal_nan=True)
    assert torch.equal(answers.ids, queries.ids)
    assert answers.annotators == ("mine",) * 5
    assert not answers.labels.requires_grad


def test_whole_numbers_and_truth_values_are_labels(make_queries, generator):
    queries = make_queries(torch.zeros(2, 2), torch.ones(2, 2))
    for labels in ([0, 1], [False, True], np.array([0, 1]), torch.tensor([False, True])):
        given_labels = CallableTeacher(lambda segments, labels=labels: labels)(queries, generator)
        assert given_labels.labels.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.0], r"expected one label per query, 3 real .* list of float64, shape \[2\]"),
        (torch.zeros(3, 1), r"3 real numbers .* torch.float32, shape \[3, 1\]"),
        (0.5, r"float of float64, shape \[\]"),
        (["left", "right", "left"], r"list of <U5, shape \[3\]"),
        ("010", r"str of <U3, shape \[\]"),
        (torch.zeros(3, dtype=torch.complex64), r"torch.complex64, shape \[3\]"),
        ([[0.0], [1.0, 0.0], [0.5]], "list of object"),
        (None, "NoneType of object"),
        ([0.0, 1.0, -1.0], r"\[0, 1\].*-1"),
        ([0.0, 1.0, 2.0], r"\[0, 1\].*2"),
        ([0.0, 1.0, math.inf], r"\[0, 1\].*inf"),
    ],
)
def test_impossible_labels_are_refused(make_queries, generator, labels, message):
    queries = make_queries(torch.zeros(3, 2), torch.ones(3, 2))
    with pytest.raises(ValueError, match=message):
        CallableTeacher(lambda segments: labels)(queries, generator)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1, width=32)), max_size=10))
def test_labels_survive_the_door(labels):
    expected = torch.tensor([math.nan if label is None else label for label in labels])
    read = as_labels(labels, len(labels))
    assert read.dtype == torch.float32
    torch.testing.assert_close(read, expected, equal_nan=True, atol=0, rtol=0)


def test_callable_is_not_called_for_a_poll(queries, generator):
    def fail(segments):
        raise AssertionError("there is nothing to label")

    assert len(CallableTeacher(fail)(none_of(queries), generator)) == 0


def test_mixture_shares_the_queries_and_names_who_answered(queries, generator):
    ones = CallableTeacher(lambda segments: torch.ones(len(segments)), name="ones")
    zeros = CallableTeacher(lambda segments: torch.zeros(len(segments)), name="zeros")
    answers = MixtureTeacher([ones, zeros], [0.8, 0.2])(queries, generator)
    assert torch.equal(answers.ids, queries.ids)
    share = answers.labels.mean().item()
    assert share == pytest.approx(0.8, abs=0.08)  # three standard deviations of 300 draws
    named = ["ones" if label else "zeros" for label in answers.labels.tolist()]
    assert list(answers.annotators) == named


def test_mixture_of_one_is_that_teacher(queries, generator):
    mixed = MixtureTeacher([make_teacher("oracle")])(queries, generator)
    alone = make_teacher("oracle")(queries, generator)
    assert torch.equal(mixed.labels, alone.labels)


def test_mixture_polls_late_teachers(queries, generator):
    late = LateTeacher()
    mixture = MixtureTeacher([late, make_teacher("oracle")], [0.5, 0.5])
    first = mixture(queries, generator)
    assert set(first.annotators) == {"oracle"}
    second = mixture(none_of(queries), generator)
    assert set(second.annotators) == {"late"}
    assert sorted([*first.ids.tolist(), *second.ids.tolist()]) == queries.ids.tolist()
    assert late.num_calls == 2
    assert len(mixture(none_of(queries), generator)) == 0


def test_late_answers_reach_the_store(queries, generator):
    store = FeedbackStore()
    asked = Queries(store.ask(queries.index, step=0), queries.index, queries.segments)
    late = LateTeacher()
    store.answer(late(asked, generator))
    assert (store.num_asked, store.num_labelled) == (300, 0)
    store.answer(late(none_of(queries), generator))
    assert (store.num_asked, store.num_labelled) == (300, 300)


def test_mixture_is_deterministic_and_resumes(queries):
    def mixture():
        config = TeacherConfig(rationality=1.0, gap_scale="running")
        return MixtureTeacher([SimulatedTeacher(config, name=name) for name in "ab"])

    def ask(teacher, seed):
        return teacher(queries, torch.Generator().manual_seed(seed))

    first, second = mixture(), mixture()
    assert torch.equal(ask(first, 1).labels, ask(second, 1).labels)
    resumed = mixture()
    resumed.load_state_dict(first.state_dict())
    assert torch.equal(ask(first, 2).labels, ask(resumed, 2).labels)
    assert resumed.state_dict() == first.state_dict()


@pytest.mark.parametrize(
    ("num_teachers", "probabilities"),
    [(2, [0.5]), (2, [0.5, 0.6]), (2, [1.5, -0.5]), (1, [math.nan])],
)
def test_impossible_shares_are_refused(num_teachers, probabilities):
    with pytest.raises(ValueError, match=f"mixture of {num_teachers} teachers needs"):
        MixtureTeacher([make_teacher("oracle")] * num_teachers, probabilities)


def test_a_mixture_of_nobody_is_refused():
    with pytest.raises(ValueError, match="at least one teacher"):
        MixtureTeacher([])


def test_the_documented_plug_in_runs(make_replay, generator):
    snippets = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    plug_in = next(code for code in snippets if "CallableTeacher(" in code)
    assert len(plug_in.strip().splitlines()) <= 12
    namespace = {}
    exec(compile(plug_in, str(DOCS), "exec"), namespace)
    replay = make_replay([60, 60])
    index = replay.sample_segments(20, 10, generator).reshape(10, 2)
    segments = replay.gather(index)
    queries = Queries(torch.arange(10), index, segments)
    answers = namespace["teacher"](queries, generator)
    effort = segments.actions.square().sum((-1, -2))
    assert torch.equal(answers.labels == 1, effort[:, 1] < effort[:, 0])
    assert set(answers.labels.tolist()) <= {0.0, 1.0}
    assert set(answers.annotators) == {namespace["teacher"].name}
