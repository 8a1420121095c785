import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pbrl.last_answers
from pbrl.last_answers import LastAnswers

ANSWER = st.tuples(st.integers(0, 40), st.integers(0, 2))  # query and annotator


def look(last: LastAnswers, answers: list[tuple[int, int]]) -> tuple[list[int], bool]:
    columns = torch.tensor(answers, dtype=torch.int64).reshape(-1, 2)
    rows, is_all = last.look(*columns.unbind(1))
    return rows.tolist(), is_all


def test_by_hand():
    last, answers = LastAnswers(), [(0, 0), (1, 0), (0, 0)]
    assert look(last, answers) == ([1, 2], True)
    answers += [(0, 1), (2, 0)]
    assert look(last, answers) == ([3, 4], False)  # nobody's second
    assert look(last, answers) == ([], False)
    answers += [(0, 1)]
    assert look(last, answers) == ([1, 2, 4, 5], True)  # repeats one that came after sorting
    answers += [(1, 0)]
    assert look(last, answers) == ([2, 4, 5, 6], True)  # repeats one that was sorted
    answers += [(3, 0), (3, 0)]
    assert look(last, answers) == ([2, 4, 5, 6, 8], True)  # repeats one of the same look


@given(parts=st.lists(st.lists(ANSWER, max_size=30), max_size=20))
def test_looks_add_up_to_the_last_answer_of_each(parts):
    last, answers, rows = LastAnswers(), [], []
    for part in parts:
        answers += part
        found, is_all = look(last, answers)
        rows = found if is_all else rows + found
        assert rows == sorted({answer: row for row, answer in enumerate(answers)}.values())


def test_nothing_is_sorted_but_every_so_often(monkeypatch):
    sorted_sizes = []
    sort = torch.sort

    def counted(keys, stable):
        sorted_sizes.append(len(keys))
        return sort(keys, stable=stable)

    monkeypatch.setattr(pbrl.last_answers.torch, "sort", counted)
    last, queries = LastAnswers(), torch.arange(5_000)
    for number in range(1, 5_001):
        last.look(queries[:number], torch.zeros(number, dtype=torch.int64))
    assert sum(sorted_sizes) < 10 * 5_000  # each answer ten times, not thousands of times
    assert len(sorted_sizes) < 40


@pytest.mark.parametrize("query", [0, 2**32 - 2])
def test_large_numbers_are_told_apart(query):
    answers = [(query, 2**31 - 1), (query + 1, 0), (query, 0), (query + 1, 2**31 - 1)]
    assert look(LastAnswers(), answers) == ([0, 1, 2, 3], True)
