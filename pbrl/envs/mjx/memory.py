"""Whether the worlds asked for fit into the memory of their device."""

import torch

GIBIBYTE = 2**30
RESERVE = 0.9  # share of the free memory that the physics may take; learning needs some as well


class WorldsDoNotFit(ValueError):
    """More worlds were asked for than the device has memory for."""


def check_memory(needed: int, free: int | None, *, num_envs: int, device: torch.device) -> None:
    """Make sure that a program fits.

    Args:
        needed: bytes that its inputs, outputs and intermediate results take together.
        free: bytes that are free; None is always enough.
        num_envs: number of worlds.
        device: where.

    Raises:
        WorldsDoNotFit: naming both sizes, and the number of worlds that fits.
    """
    if free is None or needed <= RESERVE * free:
        return
    most = int(num_envs * RESERVE * free / needed)
    raise WorldsDoNotFit(
        f"{num_envs:,} worlds need {needed / GIBIBYTE:.1f} GiB on {device}, where "
        f"{free / GIBIBYTE:.1f} GiB are free: ask for num_envs of at most {most:,}, or step on the "
        "threads of the CPU with backend='rollout'"
    )
