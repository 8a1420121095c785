import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbrl.queries.scores import (
    SCORES,
    disagreement,
    entropy,
    mutual_information,
    predictive_entropy,
    rank,
)

# Six candidates, three members: margins of the members, worked with numpy.
MARGINS = torch.tensor(
    [
        [0.0, 0.1, -0.1],
        [3.0, -3.0, 0.0],
        [2.0, 2.1, 1.9],
        [-1.0, 1.0, -0.5],
        [0.5, 0.5, 0.5],
        [-4.0, -4.2, -3.8],
    ]
).T

EXPECTED = {
    disagreement: [0.020395, 0.369525, 0.008580, 0.197293, 0.0, 0.002906],
    entropy: [0.692315, 0.358292, 0.365517, 0.609085, 0.662847, 0.090768],
    predictive_entropy: [0.693147, 0.693147, 0.365866, 0.689811, 0.662847, 0.091004],
    mutual_information: [0.000832, 0.334855, 0.000350, 0.080726, 0.0, 0.000236],
}

margins = st.lists(
    st.lists(st.floats(-40, 40, width=32), min_size=3, max_size=3), min_size=1, max_size=6
).map(lambda rows: torch.tensor(rows).T)


@pytest.mark.parametrize("score", EXPECTED, ids=lambda score: score.__name__)
def test_scores_by_hand(score):
    expected = torch.tensor(EXPECTED[score], dtype=torch.float64)
    torch.testing.assert_close(score(MARGINS), expected, atol=6e-7, rtol=0)


@pytest.mark.parametrize(
    ("score", "order"),
    [
        (disagreement, [1, 3, 0, 2, 5, 4]),
        (entropy, [0, 4, 3, 2, 1, 5]),
        (mutual_information, [1, 3, 0, 2, 5, 4]),
    ],
)
def test_order_by_hand(score, order):
    assert rank(score(MARGINS)).tolist() == order


def test_predictive_entropy_cannot_tell_doubt_from_contradiction():
    score = predictive_entropy(MARGINS)
    torch.testing.assert_close(score[:2], torch.full((2,), math.log(2), dtype=torch.float64))
    assert rank(score).tolist() == [0, 1, 3, 4, 2, 5]


@pytest.mark.parametrize("score", [disagreement, mutual_information])
@pytest.mark.parametrize("num_members", [1, 2, 3, 7])
def test_identical_members_score_zero_and_keep_the_order(score, num_members):
    same = torch.randn(1, 500, generator=torch.Generator().manual_seed(3)).expand(num_members, -1)
    torch.testing.assert_close(score(same), torch.zeros(500).double(), atol=1e-15, rtol=0)
    assert rank(score(same)).tolist() == list(range(500))


@pytest.mark.parametrize("score", EXPECTED, ids=lambda score: score.__name__)
def test_extreme_margins_stay_finite(score):
    extreme = torch.tensor([[1e3, -1e3, 1e3, 0.0], [1e3, -1e3, -1e3, 1e3]])
    assert score(extreme).isfinite().all()
    assert score(extreme)[0] == pytest.approx(0.0, abs=1e-12)


@given(margins)
def test_scores_do_not_mind_the_order_of_segments_or_members(margins):
    for score in EXPECTED:
        value = score(margins)
        torch.testing.assert_close(score(-margins), value, atol=1e-12, rtol=0)
        torch.testing.assert_close(score(margins.flip(0)), value, atol=1e-12, rtol=0)


@given(margins)
def test_scores_stay_in_their_ranges(margins):
    assert (disagreement(margins) <= 0.5).all()
    assert (entropy(margins) <= math.log(2) + 1e-12).all()
    difference = predictive_entropy(margins) - entropy(margins)
    torch.testing.assert_close(mutual_information(margins), difference, atol=1e-12, rtol=0)
    assert (mutual_information(margins) >= 0).all()


def test_every_score_has_a_name():
    assert set(SCORES) == {"disagreement", "entropy", "mutual-information"}
