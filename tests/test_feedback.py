import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from pbrl.feedback import Answers, FeedbackStore, LabelledQueries, check_answers
from pbrl.segments import SegmentIndex

SKIP = math.nan


def pairs(count: int, first_episode: int = 0) -> SegmentIndex:
    """Query q compares episodes 2 q and 2 q + 1, from step q on, five steps each."""
    episode = first_episode + torch.arange(2 * count).reshape(count, 2)
    return SegmentIndex(episode, episode // 2, torch.full_like(episode, 5))


def asked(count: int) -> FeedbackStore:
    store = FeedbackStore()
    store.ask(pairs(count), step=0)
    return store


def answers(ids: list[int], labels: list[float], annotator: str = "ann") -> Answers:
    return Answers.of(torch.tensor(ids, dtype=torch.int64), torch.tensor(labels), annotator)


def given(store: FeedbackStore) -> list[tuple[int, float]]:
    """Return the first episode and the label of every labelled query."""
    labelled = store.labelled()
    episodes = labelled.index.episode[:, 0].tolist()
    return list(zip(episodes, labelled.labels.tolist(), strict=True))


def test_queries_get_ids_in_the_order_asked():
    store = FeedbackStore()
    assert store.ask(pairs(2), step=0).tolist() == [0, 1]
    assert store.ask(pairs(0), step=5).tolist() == []
    assert store.ask(pairs(3, first_episode=10), step=7).tolist() == [2, 3, 4]
    assert store.num_asked == 5
    index = store.index(torch.tensor([4, 0]))
    assert index.episode.tolist() == [[14, 15], [0, 1]]
    assert index.start.tolist() == [[7, 7], [0, 0]]
    assert index.length.tolist() == [[5, 5], [5, 5]]


def test_ties_are_labels_and_skips_cost_without_being_labels():
    store = asked(5)
    assert store.pending().tolist() == [0, 1, 2, 3, 4]
    store.answer(answers([0, 1, 2, 3], [1.0, 0.5, SKIP, 0.5]))
    assert store.num_asked == 5
    assert store.num_labelled == 3
    assert store.num_ties == 2
    assert store.num_skipped == 1
    assert store.pending().tolist() == [4]  # the skipped one is not asked again
    assert given(store) == [(0, 1.0), (2, 0.5), (6, 0.5)]


def test_answers_may_come_late_and_in_any_order():
    store = asked(2)
    store.ask(pairs(2, first_episode=100), step=50)
    store.answer(answers([3, 0], [0.0, 1.0]))
    assert store.pending().tolist() == [1, 2]
    store.answer(answers([1], [0.25]))
    assert given(store) == [(102, 0.0), (0, 1.0), (2, 0.25)]  # in the order given
    store.answer(answers([], []))
    assert store.pending().tolist() == [2]


def test_of_one_annotator_the_last_answer_counts():
    store = asked(3)
    store.answer(answers([0, 1, 0], [1.0, 1.0, 0.0]))  # twice in one go
    assert given(store) == [(2, 1.0), (0, 0.0)]
    store.answer(answers([1], [SKIP]))  # taken back
    assert given(store) == [(0, 0.0)]
    assert (store.num_labelled, store.num_skipped) == (1, 1)
    store.answer(answers([1], [0.5]))
    assert given(store) == [(0, 0.0), (2, 0.5)]
    assert (store.num_labelled, store.num_skipped, store.num_ties) == (2, 0, 1)


def test_several_annotators_each_count():
    store = asked(2)
    store.answer(answers([0, 1], [1.0, 0.0], "ann"))
    store.answer(answers([0], [0.0], "bob"))
    both = Answers(
        torch.tensor([1, 1]), torch.tensor([1.0, SKIP]), torch.tensor([0.25, 1.0]), ("cy", "bob")
    )
    store.answer(both)
    assert store.annotators == ("ann", "bob", "cy")
    assert given(store) == [(0, 1.0), (2, 0.0), (0, 0.0), (2, 1.0)]
    assert store.labelled().weights.tolist() == [1.0, 1.0, 1.0, 0.25]
    assert store.num_skipped == 1
    store.answer(answers([0], [0.75], "ann"))
    assert given(store) == [(2, 0.0), (0, 0.0), (2, 1.0), (0, 0.75)]


def test_labels_are_found_once_between_two_answers():
    store = asked(2)
    store.answer(answers([0], [1.0]))
    first = store.labelled()
    store.ask(pairs(1), step=3)
    assert store.labelled() is first
    store.answer(answers([1], [1.0]))
    assert len(store.labelled()) == 2


def test_labels_stay_as_they_are_while_somebody_holds_them():
    store = asked(40)
    store.answer(answers([0, 1], [1.0, 0.25]))
    held = store.labelled()
    for query in range(2, 40):
        store.answer(answers([query], [0.5]))
        store.labelled()
    store.answer(answers([0], [SKIP]))
    assert len(store.labelled()) == 39
    assert held.labels.tolist() == [1.0, 0.25]
    assert held.weights.tolist() == [1.0, 1.0]
    assert held.index.episode.tolist() == [[0, 1], [2, 3]]


def test_the_state_does_not_change_with_the_store_and_has_no_room_left_over():
    store = asked(3)
    for query in range(3):
        store.answer(answers([query], [0.5]))
        store.ask(pairs(1), step=1)
    state = store.state_dict()
    store.answer(answers([1], [1.0]))
    assert state["answered"].tolist() == [0, 1, 2]
    for name in set(state) - {"names"}:
        assert state[name].untyped_storage().nbytes() == state[name].numel() * state[name].itemsize


def test_recording_one_more_copies_no_column(monkeypatch):
    store = asked(1_000)
    store.answer(answers(list(range(900)), [1.0] * 900))
    store.labelled()
    for query in (900, 901):  # makes room
        store.ask(pairs(1), step=1)
        store.answer(answers([query], [1.0]))
        store.labelled()
    place = store.labelled().labels.data_ptr()
    monkeypatch.setattr(torch, "cat", None)
    monkeypatch.setattr(torch, "sort", None)
    for query in range(902, 950):
        store.ask(pairs(1), step=1)
        store.answer(answers([query], [1.0]))
        assert store.num_labelled == query + 1
        assert store.labelled().labels.data_ptr() == place


def test_labels_and_weights_are_kept_in_single_precision():
    store = asked(2)
    double = torch.tensor([1.0, 0.0], dtype=torch.float64)
    store.answer(Answers(torch.tensor([0, 1], dtype=torch.int32), double, double, ("a", "a")))
    assert store.labelled().labels.dtype == torch.float32
    assert store.labelled().weights.dtype == torch.float32
    assert store.labelled().weights.tolist() == [1.0, 0.0]


def test_empty_store_answers_every_question():
    store = FeedbackStore()
    assert len(store.labelled()) == 0
    assert store.labelled().index.shape == (0, 2)
    assert (store.num_asked, store.num_labelled, store.num_skipped, store.num_ties) == (0, 0, 0, 0)
    assert store.pending().tolist() == []
    assert store.annotators == ()


@pytest.mark.parametrize(
    ("ids", "labels", "message"),
    [
        ([0], [1.5], r"lies in \[0, 1\] .* found 1.5"),
        ([0, 1], [1.0, -0.1], r"lies in \[0, 1\] .* found -0.1"),
        ([0], [math.inf], "found inf"),
        ([2], [1.0], "query of an answer must lie in 0 to 1, found 2 to 2"),
        ([-1, 0], [1.0, 1.0], "must lie in 0 to 1, found -1 to 0"),
    ],
)
def test_impossible_answers_are_refused_whole(ids, labels, message):
    store = asked(2)
    store.answer(answers([1], [0.5]))
    with pytest.raises(ValueError, match=message):
        store.answer(answers(ids, labels, "somebody else"))
    assert store.annotators == ("ann",)
    assert given(store) == [(2, 0.5)]


@pytest.mark.parametrize("weight", [-1.0, math.nan, math.inf])
def test_impossible_weights_are_refused(weight):
    one = torch.tensor([1.0])
    with pytest.raises(ValueError, match="weight must be finite and not negative"):
        check_answers(Answers(torch.tensor([0]), one, one * weight, ("a",)), 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.ones(1)}, "answered 2 queries with 1 labels"),
        ({"labels": torch.ones(2, 1)}, r"labels .* one axis, got \(2, 1\)"),
        ({"weights": torch.ones(3)}, "answered 2 queries with 3 weights"),
        ({"annotators": ("a",)}, "answered 2 queries with 1 annotators"),
        ({"annotators": ("a", 7)}, "annotators must be names"),
        ({"ids": torch.zeros(2)}, "ids .* whole numbers, got torch.float32"),
        ({"ids": torch.zeros(2, 1, dtype=torch.int64)}, "ids .* one axis"),
    ],
)
def test_answers_that_do_not_fit_together_are_refused(change, message):
    good = {
        "ids": torch.tensor([0, 1]),
        "labels": torch.ones(2),
        "weights": torch.ones(2),
        "annotators": ("a", "b"),
    }
    check_answers(Answers(**good), 2)
    loose = object.__new__(Answers)  # a run without checked annotations lets these through
    loose.__dict__.update(good | change)
    with pytest.raises(ValueError, match=message):
        getattr(check_answers, "__wrapped__", check_answers)(loose, 2)


def test_an_index_that_is_no_query_is_refused():
    store = FeedbackStore()
    with pytest.raises(ValueError, match="a query is a pair"):
        store.ask(SegmentIndex.empty(3), step=0)
    with pytest.raises(ValueError, match="a query is a pair"):
        store.ask(SegmentIndex.empty(3, 4), step=0)
    with pytest.raises(ValueError, match="episode must lie in 0 to 2147483647, found -1 to 0"):
        store.ask(pairs(1, first_episode=-1), step=0)
    assert store.num_asked == 0


def test_queries_never_asked_are_refused():
    store = asked(2)
    for wrong in (-1, 2):
        with pytest.raises(ValueError, match="ids must lie in 0 to 1"):
            store.index(torch.tensor([0, wrong]))


def test_loading_replaces_the_labels_found_before():
    store, other = asked(2), asked(2)
    store.answer(answers([1], [0.5]))
    other.answer(answers([0], [1.0]))
    assert given(store) == [(2, 0.5)]
    store.load_state_dict(other.state_dict())
    assert given(store) == [(0, 1.0)]


def test_a_state_that_does_not_hold_together_is_refused_and_changes_nothing():
    store = asked(2)
    store.answer(answers([1], [0.5]))
    with pytest.raises(ValueError, match="labels must have 1 entries, found 2"):
        store.load_state_dict(store.state_dict() | {"labels": torch.zeros(2)})
    state = store.state_dict()
    del state["weights"]
    with pytest.raises(ValueError, match=r"\['weights'\] are missing"):
        store.load_state_dict(state)
    assert given(store) == [(2, 0.5)]


class FeedbackMachine(RuleBasedStateMachine):
    """The store does what a list of answers does, whether looked at seldom or often."""

    def __init__(self) -> None:
        super().__init__()
        self.store = FeedbackStore()
        self.num_asked = 0
        self.asked_at: list[int] = []
        self.answers: list[tuple[int, str, float]] = []
        self.held: list[tuple[LabelledQueries, list[float]]] = []

    @rule(count=st.integers(0, 4))
    def ask(self, count):
        ids = self.store.ask(pairs(count, first_episode=2 * self.num_asked), step=count)
        assert ids.tolist() == list(range(self.num_asked, self.num_asked + count))
        self.num_asked += count
        self.asked_at += [count] * count

    @precondition(lambda self: self.num_asked)
    @rule(data=st.data(), name=st.sampled_from(["ann", "bob", "cy"]))
    def answer(self, data, name):
        query = st.integers(0, self.num_asked - 1)
        label = st.sampled_from([0.0, 0.25, 0.5, 1.0, SKIP])
        new = data.draw(st.lists(st.tuples(query, label), max_size=6))
        self.store.answer(answers([one[0] for one in new], [one[1] for one in new], name))
        self.answers += [(query, name, label) for query, label in new]

    @precondition(lambda self: self.num_asked)
    @rule(name=st.sampled_from(["ann", "bob", "cy"]))
    def answer_what_is_left(self, name):
        done = {query for query, who, _ in self.answers if who == name}
        for query in sorted(set(range(self.num_asked)) - done)[:6]:
            self.store.answer(answers([query], [1.0], name))
            self.answers.append((query, name, 1.0))
            self.hold()

    @rule()
    def hold(self):
        labelled = self.store.labelled()
        self.held.append((labelled, labelled.labels.tolist()))

    @rule()
    def save_and_load(self):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "labels.npz"
            self.store.save(path)
            with np.load(path) as file:
                saved = {name: file[name].tolist() for name in file.files}
            self.store = FeedbackStore.load(path)
        names = list(dict.fromkeys(name for _, name, _ in self.answers))
        assert json.loads(saved["header"]) == {"format": 1, "annotators": names}
        index = pairs(self.num_asked)
        assert np.array(saved["index"])[0].tolist() == index.episode.tolist()
        assert saved["asked_at"] == self.asked_at
        assert saved["answered"] == [query for query, _, _ in self.answers]
        assert saved["annotator"] == [names.index(name) for _, name, _ in self.answers]
        np.testing.assert_array_equal(saved["labels"], [label for _, _, label in self.answers])
        assert saved["weights"] == [1.0] * len(self.answers)
        assert saved["times"] == sorted(saved["times"])

    @rule()
    def the_same_answers_count(self):
        last = {(query, name): place for place, (query, name, _) in enumerate(self.answers)}
        counting = [self.answers[place] for place in sorted(last.values())]
        labelled = [(2 * query, label) for query, _, label in counting if not math.isnan(label)]
        assert given(self.store) == labelled
        assert self.store.num_labelled == len(labelled)
        assert self.store.num_ties == sum(label == 0.5 for _, label in labelled)
        assert self.store.num_skipped == len(counting) - len(labelled)
        answered = {query for query, _, _ in self.answers}
        waiting = [query for query in range(self.num_asked) if query not in answered]
        assert self.store.pending().tolist() == waiting
        assert self.store.num_asked == self.num_asked
        assert all(labelled.labels.tolist() == then for labelled, then in self.held)

    def teardown(self):
        self.the_same_answers_count()


TestFeedbackMachine = FeedbackMachine.TestCase
TestFeedbackMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
