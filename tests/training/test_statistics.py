import numpy as np
import pytest

from pbrl.training import statistics as stats


def rng():
    return np.random.default_rng(0)


def test_interquartile_mean_by_hand():
    # Eight runs: two leave at each end; 3, 4, 5, 6 stay.
    assert stats.interquartile_mean(np.array([100.0, 3, 1, 4, 6, 5, -50, 7])) == 4.5
    # Five runs: one leaves at each end.
    assert stats.interquartile_mean(np.array([1.0, 2, 3, 4, 100])) == 3.0
    # Three runs: all stay.
    assert stats.interquartile_mean(np.array([1.0, 2, 9])) == 4.0


def test_interquartile_mean_takes_the_last_axis():
    scores = rng().normal(size=(2, 3, 8))
    expected = [[stats.interquartile_mean(row) for row in block] for block in scores]
    np.testing.assert_allclose(stats.interquartile_mean(scores), expected)


def test_probability_of_improvement_by_hand():
    # 3 beats 1 and 2 of the pairs (3 against 1, 2, 3, 4): 2 wins and a tie make 2.5 of 4.
    assert stats.probability_of_improvement([np.array([3.0])], [np.array([1.0, 2, 3, 4])]) == 0.625
    # Over two tasks the mean: 0.625 and 1.
    first = [np.array([3.0]), np.array([5.0, 6.0])]
    second = [np.array([1.0, 2, 3, 4]), np.array([0.0])]
    assert stats.probability_of_improvement(first, second) == 0.8125


def test_probability_of_improvement_is_antisymmetric():
    first, second = [rng().normal(size=7)], [rng().normal(1.0, size=5)]
    there = stats.probability_of_improvement(first, second)
    assert there + stats.probability_of_improvement(second, first) == pytest.approx(1.0)


def test_bootstrap_stays_within_each_task():
    # Within a task all runs are equal, so that no resample can differ.
    interval = stats.stratified_bootstrap([np.zeros(3), np.full(5, 8.0)], stats.mean, rng())
    assert (interval.estimate, interval.low, interval.high) == (5.0, 5.0, 5.0)


def test_bootstrap_interval_of_two_runs_by_hand():
    # Resamples of {0, 1}: means 0, 1/2, 1 with probability 1/4, 1/2, 1/4.
    interval = stats.stratified_bootstrap([np.array([0.0, 1.0])], stats.mean, rng(), confidence=0.4)
    assert (interval.low, interval.high) == (0.5, 0.5)
    interval = stats.stratified_bootstrap([np.array([0.0, 1.0])], stats.mean, rng())
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_bootstrap_interval_covers_about_as_often_as_it_says():
    generator = rng()
    hits = 0
    for _ in range(200):
        interval = stats.stratified_bootstrap(
            [generator.normal(size=30)], stats.mean, generator, num_resamples=300
        )
        hits += interval.low <= 0.0 <= interval.high
    assert 0.88 <= hits / 200 <= 0.98


def test_band_equals_the_bootstrap_of_each_point():
    curves = rng().normal(size=(6, 4))
    band = stats.bootstrap_band(curves, stats.interquartile_mean, rng(), num_resamples=500)
    assert band.low.shape == (4,)
    for point in range(4):
        alone = stats.stratified_bootstrap(
            [curves[:, point]], stats.interquartile_mean, rng(), num_resamples=500
        )
        np.testing.assert_allclose(
            [alone.estimate, alone.low, alone.high],
            [band.estimate[point], band.low[point], band.high[point]],
        )


def test_few_seeds_make_no_ranking():
    assert not stats.may_rank(9)
    assert stats.may_rank(10)
    assert "no method is ranked" in stats.ranking_note(3)
    assert "1 seed per" in stats.ranking_note(1)
    assert "no method" not in stats.ranking_note(10)


def test_tasks_without_runs_are_refused():
    with pytest.raises(ValueError, match="tasks"):
        stats.stratified_bootstrap([np.zeros(0)], stats.mean, rng())
    with pytest.raises(ValueError, match="first has 1 tasks and second 2"):
        stats.probability_of_improvement([np.zeros(1)], [np.zeros(1), np.zeros(1)])
    with pytest.raises(ValueError, match="confidence"):
        stats.stratified_bootstrap([np.zeros(1)], stats.mean, rng(), confidence=95.0)
