"""Columns that rows are appended to, at a cost per row that does not grow with their number."""

import torch
from jaxtyping import Shaped
from torch import Tensor


class GrowingColumns:
    """Tensors of one length by name, appended to often and read whole.

    What is read is a view. Appending writes behind it or moves to larger tensors, so a view stays
    what it was for as long as somebody holds it. The room doubles when it is used up: over many
    appends a row is copied about once more, and the tensors take up to twice what they hold.

    Args:
        columns: the first rows; never written into.
    """

    def __init__(self, **columns: Shaped[Tensor, "_ ..."]) -> None:
        self._num_rows = min(len(column) for column in columns.values())
        self._columns = columns

    def __len__(self) -> int:
        return self._num_rows

    def __getitem__(self, name: str) -> Tensor:
        """Return the rows of a column; do not write into them."""
        # Of `data`, or autograd would take the next append for a change of these rows.
        return self._columns[name].data[: self._num_rows]

    @torch.inference_mode(mode=False)  # tensors made in that mode could not be written into later
    def append(self, **rows: Shaped[Tensor, "_ ..."]) -> None:
        """Append rows to every column, in the column's type and on its device.

        Raises:
            ValueError: if the rows do not fit the columns; nothing is appended then.
        """
        number = min((len(new) for new in rows.values()), default=0)
        shapes = {name: (number, *column.shape[1:]) for name, column in self._columns.items()}
        found = {name: tuple(new.shape) for name, new in rows.items()}
        if found != shapes:
            raise ValueError(f"rows of the shapes {shapes} were expected, got {found}")
        total = self._num_rows + number
        for name, new in rows.items():
            column = _with_room(self._columns[name], self._num_rows, total)
            column[self._num_rows : total] = new.detach()
            self._columns[name] = column
        self._num_rows = total


def _with_room(column: Tensor, num_rows: int, total: int) -> Tensor:
    if total <= len(column):
        return column
    larger = column.new_empty(max(total, 2 * len(column)), *column.shape[1:])
    larger[:num_rows] = column[:num_rows]
    return larger
