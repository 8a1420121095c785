import pytest

from pbrl.agents.learning_rates import RateSchedule


def test_a_rate_by_hand():
    rate = RateSchedule(peak=2.0, warmup=4, decay=12)
    assert [rate.at(n) for n in range(5)] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rate.at(8) == pytest.approx(1.0)  # half of the cosine
    assert rate.at(12) == rate.at(100) == pytest.approx(0.0)


def test_a_rate_may_rise_from_and_fall_to_a_share_of_its_peak():
    rate = RateSchedule(peak=1e-3, warmup=10, decay=20, start=0.1, end=0.1)
    assert rate.at(0) == pytest.approx(1e-4 + 0.9e-4)
    assert rate.at(9) == pytest.approx(1e-3)
    assert rate.at(20) == pytest.approx(1e-4)


def test_a_rate_may_fall_in_steps_and_by_default_stays():
    rate = RateSchedule(peak=3e-4, decay=50_000, every=1_000)
    assert rate.at(999) == 3e-4
    assert rate.at(1_000) == rate.at(1_999) < 3e-4
    assert rate.at(25_000) == pytest.approx(1.5e-4)
    assert RateSchedule(peak=0.1).at(10**6) == 0.1


@pytest.mark.parametrize(
    "options",
    [{"peak": 0.0}, {"warmup": -1}, {"warmup": 5, "decay": 5}, {"every": 0}, {"end": 2.0}],
)
def test_impossible_rates_are_refused(options):
    with pytest.raises(ValueError, match=f"{list(options)[-1]} of a rate"):
        RateSchedule(**options)
