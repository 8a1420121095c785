import math

import pytest
import torch

from pbrl.dataset_identity import DatasetIdentity
from pbrl.feedback import FeedbackStore
from pbrl.preference import logistic_loss
from pbrl.queries.follower import RunStatus
from pbrl.queries.human.live_runs import LiveRun, save_run
from pbrl.queries.human.records import feedback_record, graded_lists, rated_segments
from pbrl.queries.human.studies import note_dataset
from pbrl.rankings import list_loss


def prefer(own):
    """Choose the segment in the query's own place, wherever it is shown."""
    return lambda assignment: {"label": float(assignment.order.index(own))}


def read(bench, function, *arguments):
    with bench.database.reading() as connection:
        return function(connection, bench.study, *arguments)


def test_a_record_has_every_query_and_label(make_bench, tmp_path):
    bench = make_bench(labels_per_query=2, gold_every=1)
    bench.ask(3)
    bench.ask(1, gold={"label": 0}, prefix="gold")
    ada, ben = bench.invite("ada"), bench.invite("ben")
    bench.label(ada, prefer(1))
    bench.label(ada, prefer(1))  # the gold question
    bench.label(ben, prefer(0))
    bench.label(ada, lambda _: None)
    record = read(bench, feedback_record)
    assert (record.num_asked, record.num_labelled, record.num_skipped) == (3, 2, 1)
    labelled = record.labelled()
    assert labelled.labels.tolist() == [1.0, 0.0]
    assert labelled.index.episode.tolist() == [[0, 0], [1, 1]]
    assert labelled.index.start.tolist() == [[0, 1], [0, 1]]
    assert labelled.index.length.tolist() == [[5, 5], [5, 5]]
    assert record.annotators == ("ada", "ben")
    assert record.state_dict()["asked_at"].tolist() == [0, 10, 20]
    record.save(tmp_path / "labels.npz")
    assert FeedbackStore.load(tmp_path / "labels.npz").num_labelled == 2


def test_an_empty_study_is_an_empty_record(bench):
    assert read(bench, feedback_record).num_asked == 0
    bench.ask(2)
    assert read(bench, feedback_record).pending().tolist() == [0, 1]


def test_a_record_tells_its_dataset_unless_a_run_asked_too(bench):
    dataset = DatasetIdentity(name="drawn", checksum="a" * 64, num_episodes=3)
    bench.ask(2)
    with bench.database.writing() as connection:
        note_dataset(connection, bench.study.id, dataset)
    assert read(bench, feedback_record).dataset == dataset
    status = RunStatus(step=5, steps=9, num_asked=1, num_labelled=1)
    run = LiveRun(study_id=bench.study.id, token="a1", name="run", status=status, updated_at=1.0)
    with bench.database.writing() as connection:
        save_run(connection, run)
    assert read(bench, feedback_record).dataset is None


def test_people_become_one_label_per_query(sqlite_bench):
    bench = sqlite_bench(labels_per_query=3)
    bench.ask(6)
    good, also, bad = (bench.invite(name) for name in ("good", "also", "bad"))
    while any([bench.label(person, prefer(1)) for person in (good, also)]):
        pass
    while bench.label(bad, prefer(0)):
        pass
    each = read(bench, feedback_record).labelled()
    assert len(each) == 18
    majority = read(bench, feedback_record, "majority").labelled()
    assert majority.labels.tolist() == [1.0] * 6
    posterior = read(bench, feedback_record, "dawid-skene").labelled()
    assert len(posterior) == 6
    assert (posterior.labels > 0.9).all()
    weighed = read(bench, feedback_record, "reliability").labelled()
    assert weighed.weights.shape == (18,)
    assert ((weighed.weights >= 0) & (weighed.weights <= 1)).all()


def test_rankings_become_grades(sqlite_bench):
    bench = sqlite_bench(kind="ranking", ranking_size=3)
    bench.ask(2)
    ada = bench.invite("ada")
    # Own places, the best first: 2, 0, 1.
    bench.label(ada, lambda one: {"ranking": [one.order.index(place) for place in (2, 0, 1)]})
    bench.label(ada, lambda _: None)
    lists = read(bench, graded_lists)
    assert lists.grades.tolist() == [[1.0, 0.0, 2.0]]
    assert lists.index.start.tolist() == [[0, 1, 2]]
    assert lists.annotators == ("ada",)
    # A learner's loss takes them: three equal scores, so the order has probability 1/6.
    loss = list_loss("plackett-luce", torch.zeros(1, 3), lists.grades, logistic_loss)
    assert loss.tolist() == pytest.approx([math.log(6)])
    with pytest.raises(ValueError, match="a record holds labels of pairs"):
        read(bench, feedback_record)


def test_ratings(sqlite_bench):
    bench = sqlite_bench(kind="rating")
    bench.ask(3)
    ada = bench.invite("ada")
    for rating in (3, 0):
        bench.label(ada, lambda _, rating=rating: {"rating": rating})
    rated = read(bench, rated_segments)
    assert rated.ratings.tolist() == [3, 0]
    assert rated.index.episode.tolist() == [0, 1]
    assert rated.num_classes == 4
    with pytest.raises(ValueError, match="has ratings, not rankings"):
        read(bench, graded_lists)
