import numpy as np
import pytest

from pbrl.queries.human.aggregation import Votes, dawid_skene, majority


def votes_of(table, num_classes=2):
    """Votes from rows (item, annotator, class)."""
    items, annotators, classes = np.array(table).reshape(-1, 3).T
    return Votes(
        items=items,
        annotators=annotators,
        classes=classes,
        num_items=int(items.max()) + 1,
        num_annotators=int(annotators.max()) + 1,
        num_classes=num_classes,
    )


def test_majority_and_its_ties():
    votes = votes_of([(0, 0, 1), (0, 1, 1), (0, 2, 0), (1, 0, 0), (1, 1, 1), (3, 0, 0)])
    result = majority(votes)
    np.testing.assert_allclose(result[[0, 1, 3]], [[0, 1], [0.5, 0.5], [1, 0]])
    assert np.isnan(result[2]).all()


def test_one_step_by_hand():
    # Items 0 to 2, annotators a, b, c: (1 1 0), (1 1 1), (0 0 1). Shares of votes for class 1:
    # 2/3, 1, 1/3, so the prior of class 1 is (2/3 + 1 + 1/3) / 3 = 2/3.
    # a says 1 to items 0 and 1: P(1 | true 1) = (2/3 + 1) / 2 = 5/6, P(1 | true 0) = (1/3) / 1.
    # c says 1 to items 1 and 2: P(1 | true 1) = (1 + 1/3) / 2 = 2/3, P(1 | true 0) = (2/3) / 1.
    # Item 0 (1 1 0): true 1: 2/3 (5/6)^2 (1/3) = 25/162; true 0: 1/3 (1/3)^2 (1/3) = 1/81.
    # Posterior of class 1 of item 0: 25 / 27.
    votes = votes_of(
        [
            (item, annotator, given)
            for item, row in enumerate([(1, 1, 0), (1, 1, 1), (0, 0, 1)])
            for annotator, given in enumerate(row)
        ]
    )
    estimate = dawid_skene(votes, max_steps=1, smoothing=0.0)
    assert estimate.posterior[0, 1] == pytest.approx(25 / 27)
    # Item 2 (0 0 1): true 1: 2/3 (1/6)^2 (2/3) = 1/81; true 0: 1/3 (2/3)^2 (2/3) = 8/81.
    assert estimate.posterior[2, 1] == pytest.approx(1 / 9)


def test_reliable_people_outvote_careless_ones():
    rng = np.random.default_rng(1)
    truth = rng.integers(2, size=400)
    accuracy = np.array([0.95, 0.9, 0.6, 0.6, 0.6])
    right = rng.random((400, 5)) < accuracy
    given = np.where(right, truth[:, None], 1 - truth[:, None])
    items, annotators = np.indices(given.shape)
    votes = Votes(
        items=items.ravel(),
        annotators=annotators.ravel(),
        classes=given.ravel(),
        num_items=400,
        num_annotators=5,
        num_classes=2,
    )
    estimate = dawid_skene(votes)
    by_majority = (majority(votes).argmax(1) == truth).mean()
    by_model = (estimate.posterior.argmax(1) == truth).mean()
    assert by_model > by_majority + 0.02
    assert by_model > 0.9
    np.testing.assert_allclose(estimate.accuracy(), accuracy, atol=0.08)
    np.testing.assert_allclose(estimate.reliability(), 2 * accuracy - 1, atol=0.16)
    np.testing.assert_allclose(estimate.confusion.sum(-1), 1.0)
    np.testing.assert_allclose(estimate.posterior.sum(-1), 1.0)


def test_always_the_same_answer_is_worth_nothing():
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=60)
    rows = [(item, who, truth[item]) for item in range(60) for who in (0, 1)]
    rows += [(item, 2, 0) for item in range(60)]
    reliability = dawid_skene(votes_of(rows, 3)).reliability()
    assert reliability[0] > 0.95
    assert reliability[2] < 0.02


def test_items_without_votes_take_the_prior():
    votes = Votes(
        items=np.array([0, 1]),
        annotators=np.array([0, 0]),
        classes=np.array([1, 1]),
        num_items=3,
        num_annotators=1,
        num_classes=2,
    )
    estimate = dawid_skene(votes)
    np.testing.assert_allclose(estimate.posterior[2], estimate.prior, atol=1e-6)


def test_no_votes_at_all():
    nothing = np.zeros(0, np.int64)
    votes = Votes(
        items=nothing,
        annotators=nothing,
        classes=nothing,
        num_items=2,
        num_annotators=1,
        num_classes=2,
    )
    np.testing.assert_allclose(dawid_skene(votes).posterior, 0.5)
    assert np.isnan(majority(votes)).all()


def test_impossible_votes_are_refused():
    with pytest.raises(ValueError, match="classes must lie in 0 to 1, got 0 to 2"):
        votes_of([(0, 0, 2), (0, 0, 0)])
