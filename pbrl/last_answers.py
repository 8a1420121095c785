"""Which answers count: of one annotator and query the last one."""

import torch
from jaxtyping import Int
from torch import Tensor

_ANNOTATOR_BITS = 31  # a key holds the query above and the annotator in these bits
_GROWTH = 8  # all are sorted again when an eighth came since: little for each of that eighth
_SPARE = 64  # and so many more, which bounds the sorting at the start


class LastAnswers:
    """Finds the answers that count, each time from those that came since.

    Sorting all answers finds them. A later one that repeats none of them counts as well and changes
    nothing else; whether it repeats one is looked up in the sorted keys and in a set of later ones.
    All are sorted again when one is repeated, or when the set has become large.
    """

    def __init__(self) -> None:
        self._num_seen = 0
        self._sorted: Int[Tensor, " key"] | None = None
        self._recent: set[int] = set()  # keys that came after sorting

    def look(
        self, queries: Int[Tensor, " answer"], annotators: Int[Tensor, " answer"]
    ) -> tuple[Int[Tensor, " row"], bool]:
        """Return the rows of answers that count, in the order given.

        Args:
            queries: of every answer so far; those seen before must be the same.
            annotators: who gave it, likewise.

        Returns:
            The rows that count besides those returned before, and False; or all the rows that
            count, and True.
        """
        first, self._num_seen = self._num_seen, len(queries)
        if self._remember(_keys(queries[first:], annotators[first:])):
            return torch.arange(first, len(queries), device=queries.device), False
        keys, order = torch.sort(_keys(queries, annotators), stable=True)
        is_last = torch.ones_like(keys, dtype=torch.bool)
        is_last[:-1] = keys[:-1] != keys[1:]
        self._sorted, self._recent = keys[is_last], set()
        return order[is_last].sort().values, True

    def _remember(self, new: Tensor) -> bool:
        """Remember keys if they are few and all different from those so far, and say whether."""
        if self._sorted is None:
            return False
        if len(self._recent) + len(new) > _SPARE + len(self._sorted) // _GROWTH:
            return False
        keys = set(new.tolist())
        begin, end = (torch.searchsorted(self._sorted, new, right=right) for right in (False, True))
        if len(keys) < len(new) or self._recent & keys or bool((begin != end).any()):
            return False
        self._recent |= keys
        return True


def _keys(queries: Tensor, annotators: Tensor) -> Tensor:
    return (queries << _ANNOTATOR_BITS) + annotators
