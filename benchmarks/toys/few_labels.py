"""Labels of a perfectly rational teacher, where the true reward is known."""

import torch

from pbrl.feedback import LabelledQueries
from pbrl.replay import ReplayBuffer


def compared(
    replay: ReplayBuffer, number: int, steps: int, generator: torch.Generator
) -> LabelledQueries:
    """Return random pairs of segments, labelled by their true returns."""
    index = replay.sample_segments(2 * number, steps, generator).reshape(number, 2)
    return_0, return_1 = replay.gather(index).true_returns().unbind(-1)
    return LabelledQueries(index, (return_1 > return_0).float(), torch.ones(number))
