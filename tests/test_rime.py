import math

import pytest

from pbrl.rime import FLIP_BOUND, slack_weight_after, trust_bound


@pytest.mark.parametrize(
    ("largest", "expected"), [(0.1, 2.35258), (0.5, 0.94315), (1.0, 0.5), (2.0, 0.30685)]
)
def test_trust_bound_without_slack(largest, expected):
    assert trust_bound(largest, 0.5, 3.0, 0.0) == pytest.approx(expected, abs=1e-5)


def test_slack_is_capped():
    assert trust_bound(1.0, 0.5, 2.0, 0.25) == pytest.approx(1.0)
    assert trust_bound(1.0, 0.5, 3.0, 1.0) == trust_bound(1.0, 0.5, 3.0, 100.0) == 3.5


@pytest.mark.parametrize(
    ("passes", "expected"), [(0, 3.0), (15, 2.5), (30, 2.0), (60, 1.0), (90, 1.0)]
)
def test_slack_weight_of_the_sheet(passes, expected):
    assert slack_weight_after(passes, 3.0, 1.0, 60) == pytest.approx(expected)


def test_flip_bound():
    assert FLIP_BOUND == pytest.approx(3 * math.log(10)) == pytest.approx(6.908, abs=1e-3)
