import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbrl.offline.labels.agreement import agree, cohen_kappa, wilson
from pbrl.offline.labels.table import LabelTable


def table(*answers, named_by="rows", dataset=None, annotators=None) -> LabelTable:
    """Return a table of answers (first row, second row, label); segments have five steps."""
    pairs = np.array([[[first, 5], [second, 5]] for first, second, _ in answers])
    return LabelTable(
        segments=pairs.reshape(-1, 2, 2).astype(np.int64),
        named_by=named_by,
        labels=np.array([label for *_, label in answers], np.float64),
        weights=np.ones(len(answers)),
        annotators=annotators or ("ann",) * len(answers),
        source="labels",
        dataset=dataset,
    )


def test_wilson_by_hand():
    # 8 of 10 at 95 %: z = 1.959964, center (.8 + .192073) / 1.384146, half .223226.
    share = wilson(8, 10)
    assert share.value == 0.8
    assert share.low == pytest.approx(0.490162, abs=1e-6)
    assert share.high == pytest.approx(0.943318, abs=1e-6)
    assert wilson(0, 10).low == 0.0
    assert wilson(10, 10).high == 1.0
    assert math.isnan(wilson(0, 0).value)
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson(3, 2)


@given(st.integers(1, 500), st.data())
def test_an_interval_holds_its_share_and_more_cases_narrow_it(cases, data):
    successes = data.draw(st.integers(0, cases))
    share, more = wilson(successes, cases), wilson(4 * successes, 4 * cases)
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert more.high - more.low < share.high - share.low


def test_kappa_by_hand():
    # Observed (20 + 15) / 50 = .7, expected (25 * 30 + 25 * 20) / 2500 = .5.
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert cohen_kappa(np.array([[5, 0], [0, 5]])) == 1.0
    assert cohen_kappa(np.array([[0, 5], [5, 0]])) == -1.0
    assert math.isnan(cohen_kappa(np.array([[5, 0], [0, 0]])))
    assert math.isnan(cohen_kappa(np.zeros((2, 2), int)))


def test_pairs_are_matched_by_their_segments_and_not_by_row():
    ours = table((0, 10, 1.0), (20, 30, 0.0), (40, 50, 1.0), (60, 70, 0.5))
    theirs = table((40, 50, 0.0), (60, 70, 1.0), (0, 10, 1.0), (20, 30, 0.0))
    found = agree(ours, theirs)
    assert (found.common, found.decided) == (4, 3)
    assert found.agreement.value == pytest.approx(2 / 3)


def test_a_pair_shown_the_other_way_round_is_turned():
    assert agree(table((0, 10, 1.0)), table((10, 0, 0.0))).agreement.value == 1.0
    assert agree(table((0, 10, 1.0)), table((10, 0, 1.0))).agreement.value == 0.0
    assert agree(table((10, 0, 0.9)), table((0, 10, 0.2))).agreement.value == 1.0


def test_refusals_ties_and_strangers_are_left_out():
    ours = table((0, 10, math.nan), (20, 30, 1.0), (40, 50, 1.0), (1, 2, 1.0))
    theirs = table((0, 10, 1.0), (20, 30, math.nan), (40, 50, 0.5), (3, 4, 1.0))
    found = agree(ours, theirs)
    assert (found.common, found.decided, found.agreement.cases) == (1, 0, 0)
    assert math.isnan(found.agreement.value)


def test_several_answers_of_the_other_count_by_their_mean():
    ours = table((0, 10, 1.0))
    assert agree(ours, table((0, 10, 1.0), (0, 10, 1.0), (10, 0, 1.0))).agreement.value == 1.0
    assert agree(ours, table((0, 10, 1.0), (10, 0, 1.0))).decided == 0


def test_a_segment_is_more_than_its_first_step():
    other = table((0, 10, 1.0))
    other.segments[..., 1] = 6
    assert agree(table((0, 10, 1.0)), other).common == 0


def test_kappa_does_not_depend_on_which_way_round_the_data_lie():
    # Each agrees with the other on half: chance. The later row is always preferred by one of them.
    ours = table(*[(place, 100 + place, 1.0) for place in range(40)])
    mixed = [(place, 100 + place, float(place % 2)) for place in range(40)]
    assert agree(ours, table(*mixed)).kappa == pytest.approx(0.0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(4, 7), st.sampled_from([0.0, 0.5, 1.0]))))
def test_a_table_agrees_with_itself_and_disagrees_with_its_opposite(answers):
    distinct = list({(first, second): label for first, second, label in answers}.items())
    answers = [(*pair, label) for pair, label in distinct]
    decided = sum(label != 0.5 for *_, label in answers)
    ours = table(*answers)
    same, opposite = agree(ours, ours), agree(ours, table(*[(a, b, 1 - y) for a, b, y in answers]))
    turned = agree(ours, table(*[(b, a, 1 - y) for a, b, y in answers]))
    assert same.common == turned.common == len(answers)
    assert same.decided == opposite.decided == turned.decided == decided
    if decided:
        assert same.agreement.value == turned.agreement.value == 1.0
        assert opposite.agreement.value == 0.0


def test_tables_that_cannot_be_compared():
    with pytest.raises(ValueError, match="by rows and labels by episodes.*label import labels NEW"):
        agree(table((0, 1, 1.0)), table((0, 1, 1.0), named_by="episodes"))
    with pytest.raises(ValueError, match="labels hopper and labels labels walker"):
        agree(table((0, 1, 1.0), dataset="hopper"), table((0, 1, 1.0), dataset="walker"))
