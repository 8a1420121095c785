import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.queries.schedules import FeedbackSchedule, ScheduleConfig

SHEET = ScheduleConfig(
    budget=500, session_size=50, first_step=10_000, interval=20_000, total_steps=500_000
)

configs = st.builds(
    lambda kind, size, factor, first, interval, extra, rate: ScheduleConfig(
        kind=kind,
        budget=size * factor + size // 2,
        session_size=size,
        first_step=first,
        interval=interval,
        total_steps=first + extra,
        rate=rate,
    ),
    st.sampled_from(["constant", "increasing", "exponential"]),
    st.integers(1, 60),
    st.integers(1, 30),
    st.integers(1, 500),
    st.integers(1, 300),
    st.integers(1, 3000),
    st.floats(0.01, 3.0),
)


def run(schedule, stride=1):
    """Walk through a run and return the sessions held."""
    held, asked = [], 0
    for step in range(stride, schedule.config.total_steps, stride):
        size = schedule.session_size(step, asked, stride)
        if size:
            held.append((step, size))
        asked += size
    return held


@pytest.mark.parametrize(
    ("kind", "sizes", "last"),
    [
        ("constant", [50] * 10, 190_000),
        ("decreasing", [49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 28, 27, 25, 20], 270_000),
        ("increasing", [51, 53, 55, 58, 60, 64, 67, 71, 21], 170_000),
    ],
)
def test_sizes_by_hand(kind, sizes, last):
    plan = FeedbackSchedule(replace(SHEET, kind=kind)).plan()
    assert [session.size for session in plan] == sizes
    assert plan[0].step == 10_000
    assert plan[-1].step == last
    assert sum(sizes) == 500


@pytest.mark.parametrize(
    ("total", "size", "interval", "steps", "sessions", "last"),
    [
        (100, 10, 20_000, 500_000, 10, 190_000),  # QPA walker-walk
        (250, 10, 20_000, 1_000_000, 25, 490_000),  # walker-run
        (1000, 100, 30_000, 1_000_000, 10, 280_000),  # quadruped
        (10_000, 50, 5_000, 2_000_000, 200, 1_005_000),  # humanoid-stand
        (3000, 30, 5_000, 1_000_000, 100, 505_000),  # drawer-open
        (2000, 100, 20_000, 1_000_000, 20, 390_000),  # door-unlock
    ],
)
def test_published_schedules(total, size, interval, steps, sessions, last):
    config = ScheduleConfig(budget=total, session_size=size, interval=interval, total_steps=steps)
    plan = FeedbackSchedule(config).plan()
    assert len(plan) == sessions
    assert plan[-1].step == last
    assert sum(session.size for session in plan) == total


@pytest.mark.parametrize(("budget", "size", "spent"), [(10_000, 50, 9_900), (20_000, 100, 19_800)])
def test_a_run_can_end_before_the_budget_is_spent(budget, size, spent):
    config = ScheduleConfig(budget=budget, session_size=size, interval=5_000, total_steps=1_000_000)
    plan = FeedbackSchedule(config).plan()
    assert len(plan) == 198
    assert sum(session.size for session in plan) == spent


def test_exponential_by_hand():
    # T (e^(0.1 i) - 1) / (e^1.1 - 1), i = 1..10, the first one moved to first_step
    config = replace(SHEET, kind="exponential", rate=0.1)
    plan = FeedbackSchedule(config).plan()
    expected = [int(500_000 * math.expm1(0.1 * i) / math.expm1(1.1)) for i in range(1, 11)]
    assert expected[1] == 55_235
    assert [session.step for session in plan] == [10_000, *expected[1:]]
    assert [session.size for session in plan] == [50] * 10


def test_early_exponential_sessions_join_the_first():
    config = replace(SHEET, kind="exponential", rate=1.0, budget=100, session_size=10)
    plan = FeedbackSchedule(config).plan()
    # T e^(i - 11) is below 10,000 for i = 1..6 and 9,133 = T (e^7 - 1) / (e^11 - 1) for i = 7
    assert plan[0] == (10_000, 70)
    assert [session.size for session in plan[1:]] == [10, 10, 10]
    many = replace(config, budget=100_000, session_size=10, rate=1.0)
    assert sum(session.size for session in FeedbackSchedule(many).plan()) == 100_000


def test_no_session_between_the_planned_steps():
    schedule = FeedbackSchedule(SHEET)
    assert schedule.session_size(9_999, 0) == 0
    assert schedule.session_size(10_000, 0) == 50
    assert schedule.session_size(10_001, 0) == 0
    assert schedule.session_size(30_000, 480) == 20
    assert schedule.session_size(30_000, 500) == 0
    assert schedule.session_size(30_000, 520) == 0


def test_steps_of_many_environments_do_not_jump_over_a_session():
    schedule = FeedbackSchedule(SHEET)
    assert schedule.session_size(10_003, 0, stride=7) == 50
    assert schedule.session_size(10_010, 0, stride=7) == 0
    assert [size for _, size in run(schedule, stride=7)] == [50] * 10
    long_stride = replace(SHEET, interval=5, session_size=2, first_step=0, total_steps=1000)
    assert FeedbackSchedule(long_stride).session_size(20, 0, stride=15) == 6


def test_unspent_budget_waits_for_later_sessions():
    schedule = FeedbackSchedule(replace(SHEET, budget=100))
    assert schedule.session_size(10_000, 0) == 50
    assert schedule.session_size(30_000, 0) == 50  # the first session could not be held
    assert schedule.session_size(50_000, 50) == 50


@settings(max_examples=40, deadline=None)
@given(configs, st.integers(1, 20))
def test_the_budget_is_never_exceeded_and_a_run_follows_the_plan(config, stride):
    schedule = FeedbackSchedule(config)
    plan = schedule.plan()
    assert sum(session.size for session in plan) <= config.budget
    assert all(config.first_step <= session.step < config.total_steps for session in plan)
    assert all(session.size > 0 for session in plan)
    assert run(schedule) == plan
    assert sum(size for _, size in run(schedule, stride)) <= config.budget


def test_a_budget_smaller_than_a_session_says_what_to_change():
    with pytest.raises(
        ValueError, match=r"budget of 40 .* session of 50: raise budget .* or lower"
    ):
        ScheduleConfig(budget=40, session_size=50)


def test_a_schedule_without_a_session_is_refused():
    with pytest.raises(
        ValueError, match=r"raise total_steps \(--steps\) or lower first_step \(--pref"
    ):
        ScheduleConfig(first_step=500_000, total_steps=500_000)
    with pytest.raises(ValueError, match="raise session_size"):
        FeedbackSchedule(replace(SHEET, kind="decreasing", session_size=1))


@pytest.mark.parametrize(
    ("name", "value"),
    [("kind", "linear"), ("budget", 0), ("session_size", 0), ("interval", 0), ("rate", 0.0)],
)
def test_illegal_values_are_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):  # TypeError where types are checked
        ScheduleConfig(**{name: value})


def test_the_documented_numbers():
    schedule = FeedbackSchedule(ScheduleConfig(budget=500, session_size=50, total_steps=500_000))
    assert schedule.plan()[:2] == [(10_000, 50), (30_000, 50)]
    assert schedule.session_size(10_000, 0) == 50
    assert schedule.session_size(10_001, 50) == 0
    assert schedule.session_size(190_000, 490) == 10
    docs = (Path(__file__).parents[2] / "docs" / "queries.md").read_text()
    for code in re.findall(r"```python\n(.*?)```", docs, flags=re.DOTALL):
        if "FeedbackSchedule" in code:
            namespace = {}
            exec(compile(code, "queries.md", "exec"), namespace)
            assert namespace["schedule"].plan() == schedule.plan()
