"""How many threads torch computes with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 1
"""Threads for networks of 2 x 256. Where anything else wants a core, more of them wait for one
another: on two busy cores two threads made a third of the updates per second of one."""


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
