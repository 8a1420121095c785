import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbrl.growing import GrowingColumns


def columns(*numbers: int) -> GrowingColumns:
    return GrowingColumns(number=torch.tensor(numbers), pair=torch.tensor(numbers).repeat(2, 1).T)


def append(grown: GrowingColumns, *numbers: int) -> None:
    new = torch.tensor(numbers, dtype=torch.int64)
    grown.append(number=new, pair=new.repeat(2, 1).T)


@given(
    first=st.lists(st.integers(), max_size=3).map(lambda some: [one % 97 for one in some]),
    parts=st.lists(st.lists(st.integers(0, 96), max_size=5), max_size=8),
)
def test_what_was_appended_is_there_and_views_stay(first, parts):
    given_first = torch.tensor(first, dtype=torch.int64)
    grown = GrowingColumns(number=given_first, pair=given_first.repeat(2, 1).T)
    expected, held = list(first), []
    for part in parts:
        held.append((grown["number"], list(expected)))
        append(grown, *part)
        expected += part
        assert len(grown) == len(expected)
        assert grown["number"].tolist() == expected
        assert grown["pair"].tolist() == [[one, one] for one in expected]
    assert all(view.tolist() == then for view, then in held)
    assert given_first.tolist() == first


def test_room_doubles_so_that_rows_are_moved_seldom():
    grown, places = columns(0), set()
    for number in range(1, 1_000):
        append(grown, number)
        places.add(grown["number"].data_ptr())
    assert grown["number"].tolist() == list(range(1_000))
    assert len(places) <= 10  # 2, 4, ..., 1024
    assert grown["number"].untyped_storage().nbytes() <= 2 * 1_000 * 8


def test_rows_come_into_the_type_of_the_column():
    grown = GrowingColumns(number=torch.zeros(0), place=torch.zeros(0, dtype=torch.int64))
    grown.append(number=torch.tensor([0.5, 1.0]).double(), place=torch.tensor([3, 4]).int())
    assert grown["number"].dtype == torch.float32
    assert grown["place"].dtype == torch.int64
    assert grown["place"].tolist() == [3, 4]


@pytest.mark.parametrize(
    "rows",
    [
        {"number": torch.zeros(1).long()},
        {"number": torch.zeros(1).long(), "pair": torch.zeros(2, 2).long()},
        {"number": torch.zeros(2).long(), "pair": torch.zeros(2, 1).long()},
        {"number": torch.zeros(1).long(), "pair": torch.zeros(1, 2).long(), "x": torch.zeros(1)},
        {},
    ],
)
def test_rows_that_do_not_fit_are_refused_whole(rows):
    grown = columns(1, 2)
    with pytest.raises(ValueError, match="rows of the shapes"):
        grown.append(**rows)
    assert grown["number"].tolist() == [1, 2]
    assert grown["pair"].tolist() == [[1, 1], [2, 2]]


def test_a_view_in_a_loss_survives_what_is_appended_before_the_backward_pass():
    grown = GrowingColumns(label=torch.ones(2))
    grown.append(label=torch.ones(1))  # leaves room for one more
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * grown["label"]).sum()
    grown.append(label=torch.zeros(1))
    loss.backward()
    assert weight.grad.tolist() == [1.0, 1.0, 1.0]


def test_rows_with_a_gradient_and_rows_of_inference_are_only_numbers():
    grown = GrowingColumns(label=torch.zeros(0))
    with torch.inference_mode():
        grown.append(label=torch.ones(3))
        grown.append(label=torch.ones(1))
    grown.append(label=torch.full((1,), 2.0, requires_grad=True))
    assert grown["label"].tolist() == [1.0, 1.0, 1.0, 1.0, 2.0]
    assert not grown["label"].requires_grad
