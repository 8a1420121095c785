import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.feedback import Queries
from pbrl.queries.simulated import (
    TEACHERS,
    SimulatedTeacher,
    TeacherConfig,
    adaptive_threshold,
    choice_probability,
    discounted_returns,
)
from pbrl.segments import SegmentIndex, Segments

NAN = math.nan

# The six pairs a to f of worked example A, four steps each.
REWARDS_0 = [[1, 0, 0, 0], [0.5] * 4, [0.1] * 4, [0] * 4, [1] * 4, [0.3] * 4]
REWARDS_1 = [
    [0, 0, 0, 0.9],
    [0.5, 0.5, 0.5, 0.4],
    [0, 0.1, 0.1, 0.1],
    [0] * 4,
    [0, 0, 0, 2],
    [0.3] * 4,
]
# A recent return of 10 over an episode as long as the segment: threshold = 10 eps.
RECENT = {"recent_return": 10.0, "episode_length": 4}


@pytest.fixture
def pairs(make_queries):
    return make_queries(REWARDS_0, REWARDS_1, **RECENT)


def answer(config, queries, seed=0):
    return SimulatedTeacher(config)(queries, torch.Generator().manual_seed(seed)).labels


def frequencies(config, queries, repeats=20_000):
    """Share of ones per query; NaN where skipped, the tie label where always tied."""
    number = len(queries)
    rows = torch.arange(number).repeat(repeats)
    many = Queries(
        rows,
        queries.index[rows],
        queries.segments[rows],
        queries.recent_return,
        queries.episode_length,
    )
    return answer(config, many).reshape(repeats, number).mean(0)


def assert_same(labels, expected, atol=0.0):
    expected = torch.tensor(expected, dtype=labels.dtype)
    torch.testing.assert_close(labels, expected, atol=atol, rtol=0, equal_nan=True)


@pytest.mark.parametrize(
    ("discount", "first", "second"),
    [
        (1.0, [1, 2, 0.4, 0, 4, 1.2], [0.9, 1.9, 0.3, 0, 2, 1.2]),
        (0.9, [0.729, 1.7195, 0.3439, 0, 3.439, 1.0317], [0.9, 1.6195, 0.271, 0, 2, 1.0317]),
        (0.5, [0.125, 0.9375, 0.1875, 0, 1.875, 0.5625], [0.9, 0.8375, 0.175, 0, 2, 0.5625]),
    ],
)
def test_returns_by_hand(pairs, discount, first, second):
    returns = discounted_returns(pairs.segments, discount)
    expected = torch.tensor([first, second], dtype=torch.float64).T
    torch.testing.assert_close(returns, expected, atol=1e-6, rtol=0)


def test_weights_of_a_myopic_teacher():
    ones = torch.eye(50)[:, None]  # segment t has a reward of one at step t alone
    zeros = torch.zeros(50, 1, 50, 1)
    weights = discounted_returns(Segments(zeros, zeros, torch.ones(50, 1, 50) > 0, ones), 0.9)[:, 0]
    assert weights[-1] == 1
    assert weights.sum() == pytest.approx(9.948, abs=1e-3)
    assert weights[0] == pytest.approx(0.0057, abs=1e-4)
    assert weights[-10:].sum() / weights.sum() == pytest.approx(0.655, abs=1e-3)
    assert weights[-22:].sum() / weights.sum() == pytest.approx(0.906, abs=1e-3)


def test_the_last_step_of_a_short_segment_weighs_one(make_queries):
    rewards = [[1.0, 1.0, NAN, NAN]]  # padding is never read
    queries = make_queries(rewards, rewards, lengths=[[2, 2]])
    returns = discounted_returns(queries.segments, 0.5)
    assert returns.tolist() == [[1.5, 1.5]]
    assert discounted_returns(queries.segments, 0.0).tolist() == [[1.0, 1.0]]


# Worked example A: P(y = 1) of the teachers that need no draw to be known.
EXACT = {
    "oracle": (TeacherConfig(), [0, 0, 0, 0, 0, 0]),
    "discount 0.9": (TeacherConfig(discount=0.9), [1, 0, 0, 0, 0, 0]),
    "discount 0.5": (TeacherConfig(discount=0.5), [1, 0, 0, 0, 1, 0]),
    "skip 0.5": (TeacherConfig(skip_threshold=0.05), [0, 0, NAN, NAN, 0, 0]),
    "equal 0.15": (TeacherConfig(equal_threshold=0.015), [0.5, 0.5, 0.5, 0.5, 0, 0.5]),
}

# ... and of those that draw.
STOCHASTIC = {
    "beta 1": (
        TeacherConfig(rationality=1.0),
        [0.475021, 0.475021, 0.475021, 0.5, 0.119203, 0.5],
    ),
    "beta 5": (
        TeacherConfig(rationality=5.0),
        [0.377541, 0.377541, 0.377541, 0.5, 0.000045, 0.5],
    ),
    "mistake 0.1": (TeacherConfig(mistake_probability=0.1), [0.1] * 6),
}

EVERYTHING = TeacherConfig(
    rationality=1.0,
    discount=0.9,
    mistake_probability=0.1,
    skip_threshold=0.05,
    equal_threshold=0.015,
)


@pytest.mark.parametrize("teacher", EXACT)
def test_labels_by_hand(pairs, teacher):
    config, expected = EXACT[teacher]
    assert_same(answer(config, pairs), expected)


@pytest.mark.parametrize("teacher", STOCHASTIC)
def test_probabilities_by_hand(pairs, teacher):
    config, expected = STOCHASTIC[teacher]
    gap = discounted_returns(pairs.segments, config.discount).diff(dim=-1)[:, 0]
    gap = gap.round(decimals=6)  # float32 rewards: pairs d and f are exact ties, others are rounded
    probability = choice_probability(gap, config.rationality, config.mistake_probability)
    assert_same(probability, expected, atol=1e-6)
    assert_same(frequencies(config, pairs), expected, atol=0.015)


def test_everything_at_once_by_hand(pairs):
    # pair e: sigmoid(2 - 3.439) = 0.19170, and 0.9 * 0.19170 + 0.1 * 0.80830 = 0.25336
    gap = torch.tensor([2.0 - 3.439], dtype=torch.float64)
    assert choice_probability(gap, 1.0, 0.1).item() == pytest.approx(0.253360, abs=1e-6)
    labels = frequencies(EVERYTHING, pairs)
    assert_same(labels, [0.5, 0.5, NAN, NAN, 0.253360, 0.5], atol=0.015)


@pytest.mark.parametrize(("gap", "beta"), [(0.5, 4.394), (1.0, 2.197), (2.0, 1.099), (5.0, 0.439)])
def test_rationality_that_errs_one_time_in_ten(gap, beta):
    gap = torch.tensor([gap], dtype=torch.float64)
    assert choice_probability(gap, beta, 0.0).item() == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize(
    ("recent", "length", "episode", "expected"),
    [(400, 50, 1000, 2.0), (25, 50, 1000, 0.125), (2000, 50, 500, 20.0), (-150, 50, 1000, -0.75)],
)
def test_thresholds_by_hand(recent, length, episode, expected):
    steps = torch.tensor([float(length)])
    assert adaptive_threshold(0.1, steps, float(recent), episode).item() == pytest.approx(expected)


def constant_pairs(make_queries, sums_0, sums_1, recent_return):
    """Pairs of one step, so that the return is the reward; H / T = 1 / 20 as for 50 of 1,000."""
    column_0, column_1 = ([[value] for value in sums] for sums in (sums_0, sums_1))
    return make_queries(column_0, column_1, recent_return=recent_return, episode_length=20)


def test_thresholds_decide_exactly_at_their_edge(make_queries):
    # R = 400: thresholds 2.0. Skipped at 2.0 and below; tied below a gap of 2.0 (strict).
    queries = constant_pairs(make_queries, [2.0, 2.5, 5.0, 5.0], [1.0, 1.0, 6.75, 7.0], 400.0)
    assert_same(answer(TEACHERS["skip"], queries), [NAN, 0, 1, 1])
    assert_same(answer(TEACHERS["equal"], queries), [0.5, 0.5, 0.5, 1])


def test_compat_reproduces_the_double_eps_from_the_second_session_on(make_queries):
    # R = 400: the right threshold is 2.0 in every session, the official code then uses 0.2.
    queries = constant_pairs(make_queries, [1.0, 0.125, 3.0], [0.5, 0.0, 4.0], 400.0)
    config = TeacherConfig(skip_threshold=0.1, compat="double-eps")
    official, right = SimulatedTeacher(config), SimulatedTeacher(TEACHERS["skip"])
    generator = torch.Generator().manual_seed(0)
    assert_same(official(queries, generator).labels, [NAN, NAN, 1])
    assert len(official(queries_none(queries), generator)) == 0  # a poll is not a session
    assert_same(official(queries, generator).labels, [0, NAN, 1])
    assert_same(official(queries, generator).labels, [0, NAN, 1])
    for _ in range(3):
        assert_same(right(queries, generator).labels, [NAN, NAN, 1])
    equal = SimulatedTeacher(TeacherConfig(equal_threshold=0.1, compat="double-eps"))
    assert_same(equal(queries, generator).labels, [0.5, 0.5, 0.5])
    assert_same(equal(queries, generator).labels, [0, 0.5, 1])


def queries_none(queries):
    none = torch.zeros(0, dtype=torch.int64)
    return Queries(none, queries.index[none], queries.segments[none])


@pytest.mark.parametrize("recent_return", [0.0, -150.0])
def test_thresholds_rest_while_returns_are_not_positive(make_queries, recent_return):
    queries = constant_pairs(make_queries, [-5.0, 0.0, -1.0], [-5.0, 0.0, -0.5], recent_return)
    config = TeacherConfig(skip_threshold=0.1, equal_threshold=0.1)
    assert_same(answer(config, queries), [0, 0, 1])


def test_range_thresholds_work_for_negative_rewards(make_queries):
    # worst -20, best 0: skipped at -18 and below, tied below a gap of 2
    queries = constant_pairs(
        make_queries, [-20.0, -18.5, -17.0, -5.0, -5.0], [-19.0, -18.0, -18.9, -3.5, 0.0], -100.0
    )
    rule = {"threshold_rule": "range"}
    assert_same(answer(TeacherConfig(skip_threshold=0.1, **rule), queries), [NAN, NAN, 0, 1, 1])
    assert_same(
        answer(TeacherConfig(equal_threshold=0.1, **rule), queries), [0.5, 0.5, 0.5, 0.5, 1]
    )
    # with everything alike there is no range to take a fraction of
    alike = constant_pairs(make_queries, [-1.0], [-1.0], 0.0)
    assert_same(answer(TeacherConfig(skip_threshold=0.1, equal_threshold=0.1, **rule), alike), [0])


def test_range_thresholds_remember_what_they_saw(make_queries):
    config = TeacherConfig(equal_threshold=0.1, threshold_rule="range")
    teacher, generator = SimulatedTeacher(config), torch.Generator().manual_seed(0)
    small = constant_pairs(make_queries, [0.0], [1.0], 0.0)
    assert_same(teacher(small, generator).labels, [1])
    teacher(constant_pairs(make_queries, [0.0], [100.0], 0.0), generator)
    resumed = SimulatedTeacher(config)
    resumed.load_state_dict(teacher.state_dict())
    for each in (teacher, resumed):
        assert_same(each(small, generator).labels, [0.5])


def test_scaled_gaps_make_rationality_independent_of_the_reward_scale(make_queries):
    generator = torch.Generator().manual_seed(1)
    rewards = torch.randn(2, 400, 25, generator=generator)
    for gap_scale in ("batch", "running"):
        config = TeacherConfig(rationality=2.0, gap_scale=gap_scale)
        small = answer(config, make_queries(*rewards))
        large = answer(config, make_queries(*(rewards * 1024)))
        assert torch.equal(small, large)
    raw = TeacherConfig(rationality=2.0)
    assert not torch.equal(
        answer(raw, make_queries(*rewards / 64)), answer(raw, make_queries(*(rewards * 1024)))
    )


@pytest.mark.parametrize(
    ("beta", "error"), [(0.5, 0.404), (1.0, 0.325), (2.0, 0.222), (5.0, 0.1055), (10.0, 0.0546)]
)
def test_error_rate_of_a_scaled_rationality(beta, error):
    # normally distributed gaps of root mean square one, integrated on a grid
    gap = torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    density = torch.exp(-gap.square() / 2) / math.sqrt(2 * math.pi)
    wrong = torch.where(
        gap > 0, choice_probability(-gap, beta, 0.0), choice_probability(gap, beta, 0.0)
    )
    assert torch.trapezoid(wrong * density, gap).item() == pytest.approx(error, abs=5e-4)


def test_per_step_scale_divides_by_the_length(make_queries):
    # gap of 10 over 10 steps: sigmoid(1) = 0.731 instead of sigmoid(10)
    queries = make_queries(torch.zeros(4000, 10), torch.ones(4000, 10))
    config = TeacherConfig(rationality=1.0, gap_scale="per-step")
    assert answer(config, queries).mean().item() == pytest.approx(0.731059, abs=0.02)
    assert answer(TeacherConfig(rationality=1.0), queries).mean().item() > 0.999


def test_running_scale_counts_every_gap_and_resumes(make_queries):
    config = TeacherConfig(rationality=1.0, gap_scale="running")
    teacher, generator = SimulatedTeacher(config), torch.Generator().manual_seed(0)
    teacher(constant_pairs(make_queries, [0.0], [3.0], 0.0), generator)
    teacher(constant_pairs(make_queries, [4.0], [0.0], 0.0), generator)
    state = teacher.state_dict()
    assert state["sum_squared_gaps"] / state["num_gaps"] == pytest.approx((9 + 16) / 2)
    resumed = SimulatedTeacher(config)
    resumed.load_state_dict(state)
    many = make_queries(torch.zeros(500, 1), torch.ones(500, 1))
    first, second = (
        each(many, torch.Generator().manual_seed(5)).labels for each in (teacher, resumed)
    )
    assert torch.equal(first, second)


def test_gaps_of_zero_need_no_scale(make_queries):
    queries = make_queries(torch.ones(2000, 3), torch.ones(2000, 3))
    config = TeacherConfig(rationality=1.0, gap_scale="batch")
    assert answer(config, queries).mean().item() == pytest.approx(0.5, abs=0.05)


def test_frequencies_of_mistakes_and_noise(make_queries):
    queries = make_queries(torch.zeros(10_000, 1), torch.ones(10_000, 1))
    assert answer(TEACHERS["mistake"], queries).mean().item() == pytest.approx(0.9, abs=0.01)
    assert answer(TEACHERS["noisy"], queries).mean().item() == pytest.approx(0.731059, abs=0.015)


def test_the_six_teachers_are_those_of_the_paper():
    assert list(TEACHERS) == ["oracle", "noisy", "mistake", "skip", "myopic", "equal"]
    rows = {
        name: (
            c.rationality,
            c.discount,
            c.mistake_probability,
            c.skip_threshold,
            c.equal_threshold,
        )
        for name, c in TEACHERS.items()
    }
    assert rows == {
        "oracle": (None, 1, 0, 0, 0),
        "noisy": (1, 1, 0, 0, 0),
        "mistake": (None, 1, 0.1, 0, 0),
        "skip": (None, 1, 0, 0.1, 0),
        "myopic": (None, 0.9, 0, 0, 0),
        "equal": (None, 1, 0, 0, 0.1),
    }


def test_every_query_is_answered_under_its_id(pairs):
    answers = SimulatedTeacher(name="expert")(pairs, torch.Generator())
    assert torch.equal(answers.ids, pairs.ids)
    assert answers.annotators == ("expert",) * 6
    assert torch.equal(answers.weights, torch.ones(6))
    assert answers.labels.dtype == torch.float32


def test_same_seed_same_answers(pairs):
    assert torch.equal(
        answer(EVERYTHING, pairs, 3).nan_to_num(-1), answer(EVERYTHING, pairs, 3).nan_to_num(-1)
    )
    assert not torch.equal(
        frequencies(TEACHERS["noisy"], pairs, 50), answer(TEACHERS["noisy"], pairs, 1)
    )


rewards = st.integers(-8, 8).map(lambda value: value / 4)  # sums of these are exact
rows = st.lists(st.lists(rewards, min_size=5, max_size=5), min_size=1, max_size=8)


def build(rewards_0, rewards_1, recent_return=0.0):
    stacked = torch.tensor([rewards_0, rewards_1]).transpose(0, 1)
    zeros = torch.zeros(len(rewards_0), 2, 5, 1)
    index = SegmentIndex.empty(len(rewards_0), 2)
    segments = Segments(zeros, zeros, torch.ones(len(rewards_0), 2, 5, dtype=torch.bool), stacked)
    return Queries(torch.arange(len(rewards_0)), index, segments, recent_return, 5)


@settings(max_examples=50, deadline=None)
@given(rows, st.randoms(use_true_random=False))
def test_oracle_properties(rewards_0, random):
    rewards_1 = [random.sample(row, 5)[::-1] for row in rewards_0]
    rewards_1[0][0] += 1
    labels = answer(TEACHERS["oracle"], build(rewards_0, rewards_1))
    swapped = answer(TEACHERS["oracle"], build(rewards_1, rewards_0))
    gap = torch.tensor(rewards_1).sum(1) - torch.tensor(rewards_0).sum(1)
    is_tie = gap == 0
    assert torch.equal(labels[~is_tie], 1 - swapped[~is_tie])
    assert not labels[is_tie].any()
    assert not swapped[is_tie].any()
    shifted = ([[value + 3 for value in row] for row in side] for side in (rewards_0, rewards_1))
    assert torch.equal(labels, answer(TEACHERS["oracle"], build(*shifted)))
    scaled = ([[value * 7 for value in row] for row in side] for side in (rewards_0, rewards_1))
    assert torch.equal(labels, answer(TEACHERS["oracle"], build(*scaled)))
    rational = answer(TeacherConfig(rationality=1e6), build(rewards_0, rewards_1))
    assert torch.equal(labels[~is_tie], rational[~is_tie])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-30, 30), min_size=1, max_size=8),
    st.floats(0.01, 50),
    st.floats(0, 1),
)
def test_choices_are_complementary(gaps, beta, mistake):
    gap = torch.tensor(gaps, dtype=torch.float64)
    both = choice_probability(gap, beta, mistake) + choice_probability(-gap, beta, mistake)
    torch.testing.assert_close(both, torch.ones_like(gap))
    coin = choice_probability(gap, beta, 0.5)
    torch.testing.assert_close(coin, torch.full_like(gap, 0.5))


@settings(max_examples=50, deadline=None)
@given(rows, st.floats(0.01, 20))
def test_skip_never_removes_a_pair_whose_better_sum_exceeds_the_threshold(rewards_0, recent):
    queries = build(rewards_0, rewards_0[::-1], recent)
    labels = answer(TEACHERS["skip"], queries)
    best = queries.segments.true_returns().amax(-1).double()
    assert torch.equal(labels.isnan(), best <= 0.1 * recent)


def test_no_queries_no_answers_and_no_memory(pairs):
    teacher = SimulatedTeacher(TeacherConfig(gap_scale="running"))
    before = teacher.state_dict()
    assert len(teacher(queries_none(pairs), torch.Generator())) == 0
    assert teacher.state_dict() == before


def test_rewards_that_are_not_finite_are_refused(make_queries):
    with pytest.raises(ValueError, match="finite true rewards"):
        answer(TeacherConfig(), make_queries([[NAN]], [[1.0]]))
    queries = make_queries([[0.0]], [[1.0]], recent_return=NAN)
    with pytest.raises(ValueError, match="recent_return must be finite"):
        answer(TEACHERS["skip"], queries)
    assert_same(answer(TEACHERS["oracle"], queries), [1])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rationality", 0.0),
        ("rationality", -1.0),
        ("rationality", math.inf),
        ("discount", 1.1),
        ("mistake_probability", -0.1),
        ("skip_threshold", -0.1),
        ("equal_threshold", math.nan),
        ("gap_scale", "spread"),
        ("threshold_rule", "sum"),
        ("compat", "triple-eps"),
    ],
)
def test_illegal_values_are_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):  # TypeError where types are checked
        TeacherConfig(**{name: value})


def test_double_eps_needs_the_return_rule():
    with pytest.raises(ValueError, match="double-eps"):
        TeacherConfig(compat="double-eps", threshold_rule="range")
