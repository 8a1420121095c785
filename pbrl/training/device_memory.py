"""What to lower where a run asks for more memory than its device has."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pbrl.devices import free_memory

GIBIBYTE = 2**30
ONLINE = "--environment.num-envs, --batch-size or --replay-capacity"
OFFLINE = "the batch sizes of the method and of the reward, which --show-options lists"


class OutOfDeviceMemory(ValueError):
    """A run needs more memory than its device has."""


def check_replay(num_steps: int, num_bytes: int, device: torch.device | str) -> None:
    """Make sure that a replay buffer fits.

    Args:
        num_steps: that it holds.
        num_bytes: of one step.
        device: where; the memory of a CPU is not counted.

    Raises:
        OutOfDeviceMemory: naming both sizes, and how many steps fit.
    """
    free, needed = free_memory(torch.device(device)), num_steps * num_bytes
    if free is None or needed <= free:
        return
    raise OutOfDeviceMemory(
        f"a replay buffer of {num_steps:,} steps needs {needed / GIBIBYTE:.1f} GiB on {device}, "
        f"where {free / GIBIBYTE:.1f} GiB are free: lower --replay-capacity, below "
        f"{free // num_bytes:,}, or train fewer seeds together"
    )


@contextmanager
def naming_what_to_lower(device: str, numbers: str) -> Iterator[None]:
    """Turn torch's error of a full GPU into one that says what to do.

    Args:
        device: of the run.
        numbers: that the memory goes by.

    Raises:
        OutOfDeviceMemory: naming them; with the notes that were made on torch's error.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        reason = str(error).partition(" If reserved but unallocated")[0]  # hints on the allocator
        fault = OutOfDeviceMemory(
            f"{device} has too little memory: {reason}\nLower {numbers}; or train fewer seeds "
            "together."
        )
        for note in getattr(error, "__notes__", ()):
            fault.add_note(note)
        raise fault from error
