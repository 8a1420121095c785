import warnings

import pytest
import torch

from pbrl.feedback import Answers
from pbrl.queries.usefulness import UselessAnswers

SKIP = float("nan")


def look(useless, *labels):
    useless.look(Answers.of(torch.arange(len(labels)), torch.tensor(labels), "somebody"))


@pytest.fixture
def useless():
    useless = UselessAnswers()
    useless.session_size = 4
    return useless


def test_a_session_of_skips_and_ties_is_warned_of(useless):
    message = r"none of 4 answers .* \(3 skipped, 1 ties\)"
    for _ in range(2):  # and the next session again
        with pytest.warns(RuntimeWarning, match=message):
            look(useless, SKIP, SKIP, 0.5, SKIP)


def test_late_answers_are_counted_together(useless):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look(useless, SKIP)
        look(useless)
        look(useless, 0.5, 0.5)
    with pytest.warns(RuntimeWarning, match=r"none of 4 answers .* \(2 skipped, 2 ties\)"):
        look(useless, SKIP)


def test_one_preference_is_enough(useless):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look(useless, SKIP, 0.5, SKIP)
        look(useless, SKIP, 0.5, 0.9, SKIP)
        look(useless, SKIP, SKIP, SKIP)
