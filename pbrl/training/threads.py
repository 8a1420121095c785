"""How many threads torch computes with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 1
"""Threads for networks of 2 x 256 and batches of 256. On two idle cores a second thread made 0.96
times the updates per second of one (2 x 1024, batch 256: 1.5 times); on two busy ones a third of
them."""


def check_threads(number: int | None) -> None:
    """Refuse a number of threads below 1.

    Raises:
        ValueError: naming it.
    """
    if number is not None and number < 1:
        raise ValueError(f"threads must be at least 1, or None for torch's choice, got {number}")


@contextmanager
def torch_threads(number: int | None) -> Iterator[None]:
    """Compute with so many threads for a while; None leaves torch's choice, a core each."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
