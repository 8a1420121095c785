import math

import numpy as np
import torch

from pbrl.feedback import Answers, FeedbackStore
from pbrl.offline.labels.records import record_table
from pbrl.offline.labels.summary import summarize
from pbrl.segments import SegmentIndex
from tests.offline.labels.test_agreement import table


def test_counts_of_all_and_of_each():
    answers = [(0, 10, 1.0), (1, 10, 0.0), (2, 10, 0.5), (3, 10, math.nan), (0, 10, 0.2)]
    summary = summarize(table(*answers, annotators=("ann", "ann", "bob", "bob", "bob")))
    total = summary.total
    assert (total.answers, total.first, total.second, total.ties, total.skipped) == (5, 2, 1, 1, 1)
    assert total.second_share.value == 1 / 3
    assert list(summary.by_annotator) == ["ann", "bob"]
    assert summary.by_annotator["bob"].answers == 3
    assert (summary.segments, summary.pairs, summary.same_segment) == (5, 4, 0)


def test_questions_asked_again_are_held_against_the_first_answer():
    answers = [(0, 10, 1.0), (10, 0, 0.0), (0, 10, 0.0), (0, 10, 0.5), (5, 6, 1.0), (5, 6, 1.0)]
    summary = summarize(table(*answers))
    assert summary.repeated == 4
    # The second says the same the other way round, the third the opposite, the fourth is a tie.
    assert (summary.consistency.cases, summary.consistency.value) == (3, 2 / 3)
    assert summary.pairs == 2


def test_other_peoples_answers_are_no_repetition():
    both = table((0, 10, 1.0), (0, 10, 0.0), annotators=("ann", "bob"))
    summary = summarize(both)
    assert summary.repeated == 0
    assert math.isnan(summary.consistency.value)
    assert summary.between["ann and bob"].agreement.value == 0.0


def test_annotators_without_a_common_pair_are_not_compared():
    apart = table((0, 10, 1.0), (1, 10, 0.0), annotators=("ann", "bob"))
    assert summarize(apart).between == {}


def test_a_segment_beside_itself_is_counted():
    assert summarize(table((3, 3, 1.0), (3, 4, 1.0))).same_segment == 1


def test_an_empty_table():
    empty = table()
    assert summarize(empty).total.answers == 0


def test_a_record_gives_the_last_answer_of_each_and_what_is_pending():
    store = FeedbackStore()
    episode = torch.arange(8).reshape(4, 2)
    index = SegmentIndex(episode, torch.zeros_like(episode), torch.full_like(episode, 5))
    store.ask(index, step=0)
    store.answer(Answers.of(torch.tensor([0, 1]), torch.tensor([1.0, math.nan]), "ann"))
    store.answer(Answers.of(torch.tensor([0, 2]), torch.tensor([0.5, 0.0]), "bob"))
    store.answer(Answers.of(torch.tensor([0]), torch.tensor([0.0]), "ann"))
    found = record_table(store, "record.npz")
    assert found.named_by == "episodes"
    assert found.annotators == ("ann", "bob", "bob", "ann")
    np.testing.assert_array_equal(found.labels, [math.nan, 0.5, 0.0, 0.0])
    assert found.segments.tolist()[2] == [[4, 0, 5], [5, 0, 5]]
    assert found.num_pending == 1
    assert len(found.times) == 4
    assert len(found) == store.num_labelled + store.num_skipped
    assert record_table(FeedbackStore(), "empty").labels.tolist() == []
