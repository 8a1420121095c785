"""Counting how training goes without waiting for the device."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Tally:
    """Sums over gradient steps, kept on the device until somebody asks.

    Attributes:
        num_steps: gradient steps counted; whoever takes them keeps it.
    """

    def __init__(self, device: torch.device) -> None:
        self.num_steps = 0
        # loss, correct, counted, distance
        self._sums = torch.zeros(4, dtype=torch.float64, device=device)

    def add(
        self,
        loss: Float[Tensor, ""],
        correct: Bool[Tensor, "member pair crop"],
        counted: Bool[Tensor, "member pair one"],
    ) -> None:
        """Add a part of a minibatch.

        Args:
            loss: its share of the minibatch's loss.
            correct: which predictions are right.
            counted: which pairs have a right answer, one mark for all crops of a pair.
        """
        num_crops = correct.shape[-1]
        counts = torch.stack([correct.sum(), counted.sum() * num_crops])
        self._sums[:3] += torch.cat([loss.detach()[None].double(), counts])

    def add_distance(self, distance: Float[Tensor, ""]) -> None:
        """Add a part of a minibatch's distance from a prior."""
        self._sums[3] += distance.detach()

    def accuracy(self) -> float | None:
        """Return the share of correct predictions, None where nothing can be correct."""
        _, correct, counted, _ = self._sums.tolist()
        return correct / counted if counted else None

    def loss(self) -> float:
        """Return the mean loss of a gradient step."""
        return float(self._sums[0]) / self.num_steps

    def distance(self) -> float:
        """Return the mean distance of a gradient step from a prior."""
        return float(self._sums[3]) / self.num_steps
