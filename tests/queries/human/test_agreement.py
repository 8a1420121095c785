import numpy as np
import pytest

from pbrl.queries.human.aggregation import Votes
from pbrl.queries.human.agreement import cohen_kappa, krippendorff_alpha

# Krippendorff 2011, example C: four observers, twelve units, five values, answers missing.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def votes_of(rows, num_classes):
    given = [
        (item, annotator, answer)
        for annotator, row in enumerate(rows)
        for item, answer in enumerate(row)
        if answer is not None
    ]
    items, annotators, classes = np.array(given).reshape(-1, 3).T
    return Votes(
        items=items,
        annotators=annotators,
        classes=classes,
        num_items=len(rows[0]),
        num_annotators=len(rows),
        num_classes=num_classes,
    )


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("metric", "expected"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_of_the_published_example(rng, metric, expected):
    alpha = krippendorff_alpha(votes_of(OBSERVERS, 6), rng, metric=metric)
    assert alpha.value == pytest.approx(expected, abs=5e-4)
    assert alpha.num_items == 11  # the last unit has one answer
    assert alpha.low < alpha.value <= alpha.high <= 1


def test_kappa_by_hand(rng):
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: p_o = 0.7, p_e = 0.5, kappa = 0.4.
    first = [0] * 25 + [1] * 25
    second = [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15
    kappa = cohen_kappa(votes_of([first, second], 2), rng)
    assert kappa.value == pytest.approx(0.4)
    assert kappa.num_items == 50
    # The usual standard error is sqrt(p_o (1 - p_o) / (n (1 - p_e)^2)) = 0.1296.
    assert kappa.high - kappa.low == pytest.approx(2 * 1.96 * 0.1296, rel=0.15)


def test_kappa_takes_only_what_both_answered(rng):
    kappa = cohen_kappa(votes_of([[0, 1, None, 1], [0, 1, 1, None]], 2), rng)
    assert kappa.num_items == 2
    assert kappa.value == pytest.approx(1.0)


def test_full_agreement_is_one_and_guessing_is_zero(rng):
    answers = rng.integers(3, size=400).tolist()
    assert krippendorff_alpha(votes_of([answers, answers], 3), rng).value == pytest.approx(1.0)
    others = rng.integers(3, size=400).tolist()
    guess = krippendorff_alpha(votes_of([answers, others], 3), rng)
    assert guess.low < 0 < guess.high


def test_alpha_of_two_on_all_items_is_near_kappa(rng):
    first = rng.integers(2, size=300)
    second = np.where(rng.random(300) < 0.8, first, 1 - first)
    votes = votes_of([first.tolist(), second.tolist()], 2)
    difference = krippendorff_alpha(votes, rng).value - cohen_kappa(votes, rng).value
    assert abs(difference) < 0.01


def test_nothing_in_common_says_nothing(rng):
    votes = votes_of([[0, None], [None, 1]], 2)
    assert np.isnan(cohen_kappa(votes, rng).value)
    assert np.isnan(krippendorff_alpha(votes, rng).value)
    assert krippendorff_alpha(votes, rng).num_items == 0


def test_one_answer_only_says_nothing(rng):
    # Where everybody always gives the same answer, chance explains everything.
    votes = votes_of([[0, 0, 0], [0, 0, 0]], 2)
    assert np.isnan(cohen_kappa(votes, rng).value)
    assert np.isnan(krippendorff_alpha(votes, rng).value)


def test_kappa_refuses_three(rng):
    with pytest.raises(ValueError, match="two annotators"):
        cohen_kappa(votes_of(OBSERVERS, 6), rng)
