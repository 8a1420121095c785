"""Which episodes of a source there are, which comes next, and when there are enough."""

from collections.abc import Mapping


class Ledger:
    """Keeps count of the episodes of one source, numbered 0, 1, ...

    The dataset takes them in the order of their numbers until the budget is reached, so it does
    not depend on how many are collected at once. Episodes without a step are passed over.

    Args:
        budget: how many episodes or steps the source provides.
        counts_steps: whether the budget is one of steps.
        found: steps of the episodes that there are already, by number.
    """

    def __init__(self, budget: int, *, counts_steps: bool, found: Mapping[int, int]) -> None:
        self._budget = budget
        self._counts_steps = counts_steps
        self._lengths = dict(found)
        self._in_progress: set[int] = set()

    def next_number(self) -> int | None:
        """Return the number of the next episode to collect; None while no more seem to be needed.

        An episode in progress counts as one, with a single step: how long it gets nobody knows.
        """
        total, number = 0, 0
        while number in self._lengths or number in self._in_progress:
            total += self._worth(self._lengths.get(number, 1))
            number += 1
        if total >= self._budget:
            return None
        self._in_progress.add(number)
        return number

    def add(self, number: int, length: int) -> None:
        """Note that an episode is complete; one that ended before its recording has length 0."""
        self._in_progress.discard(number)
        self._lengths[number] = length

    def chosen(self) -> list[int]:
        """Return the numbers of the episodes that make up the budget, or as much as there is."""
        total, numbers = 0, []
        for number in sorted(self._lengths):
            if total < self._budget and self._lengths[number] > 0:
                total += self._worth(self._lengths[number])
                numbers.append(number)
        return numbers

    @property
    def done(self) -> int:
        """How many of the budget's episodes or steps there are."""
        total = sum(self._worth(self._lengths[number]) for number in self.chosen())
        return min(total, self._budget)

    def _worth(self, length: int) -> int:
        return length if self._counts_steps else min(length, 1)
