import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbrl.queries.human.kinds import KINDS, check_value, describe, to_own_order, to_shown_order

LIMITS = {"num_segments": 3, "num_classes": 4, "num_steps": 50}
labels = st.sampled_from([0.0, 0.5, 1.0])
values = {
    "pair": st.builds(lambda label: {"label": label}, labels),
    "rating": st.builds(lambda rating: {"rating": rating}, st.integers(0, 3)),
    "ranking": st.builds(lambda order: {"ranking": order}, st.permutations(range(3)).map(list)),
    "moment": st.builds(
        lambda label, steps: {"label": label, "moment": sorted(steps)},
        labels,
        st.lists(st.integers(0, 49), min_size=2, max_size=2),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_legal_answers_pass_and_orders_are_undone(kind, data):
    value = check_value(kind, data.draw(values[kind]), **LIMITS)
    size = 3 if kind == "ranking" else 1 if kind == "rating" else 2
    order = data.draw(st.permutations(range(size)))
    assert to_shown_order(kind, to_own_order(kind, value, order), order) == value
    assert check_value(kind, to_own_order(kind, value, order), **LIMITS) is not None
    assert check_value(kind, None, **LIMITS) is None


def test_the_side_becomes_the_segment():
    assert to_own_order("pair", {"label": 1.0}, (1, 0)) == {"label": 0.0}
    assert to_own_order("pair", {"label": 1.0}, (0, 1)) == {"label": 1.0}
    assert to_own_order("pair", {"label": 0.5}, (1, 0)) == {"label": 0.5}
    assert to_own_order("moment", {"label": 0.0, "moment": [3, 9]}, (1, 0)) == {
        "label": 1.0,
        "moment": [3, 9],
    }
    # Shown are the segments 2, 0, 1; the one shown second is the best, then the first.
    assert to_own_order("ranking", {"ranking": [1, 0, 2]}, (2, 0, 1)) == {"ranking": [0, 2, 1]}


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("pair", {"label": 0.7}, "label must be 0"),
        ("pair", {"label": True}, "label must be 0"),
        ("pair", {"label": "1"}, "label must be 0"),
        ("pair", {"label": 1, "more": 2}, "has the fields"),
        ("pair", 1, "has the fields"),
        ("rating", {"rating": 4}, "from 0 to 3, got 4"),
        ("rating", {"rating": 1.0}, "whole number"),
        ("ranking", {"ranking": [0, 1]}, "each of the places 0 to 2"),
        ("ranking", {"ranking": [0, 1, 1]}, "each of the places"),
        ("ranking", {"ranking": "012"}, "each of the places"),
        ("ranking", {"ranking": [0, True, 2]}, "each of the places"),
        ("moment", {"label": 1}, "moment must be two steps"),
        ("moment", {"label": 1, "moment": [5, 50]}, "from 0 to 49, got 50"),
        ("moment", {"label": 1, "moment": [7, 5]}, "not end before it starts"),
    ],
)
def test_illegal_answers_say_why(kind, value, reason):
    with pytest.raises(ValueError, match=reason):
        check_value(kind, value, **LIMITS)


def test_equal_segments_need_no_moment():
    assert check_value("moment", {"label": 0.5}, **LIMITS) == {"label": 0.5, "moment": None}


def test_answers_in_words():
    assert describe("pair", {"label": 1.0}) == "second"
    assert describe("moment", {"label": 0.0, "moment": [3, 9]}) == "first, steps 3-9"
    assert describe("rating", {"rating": 1}, ["bad", "good"]) == "good"
    assert describe("ranking", {"ranking": [2, 0, 1]}) == "3 > 1 > 2"
    assert describe("pair", None) == "can't tell"
