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
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)  # loss, correct, counted

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
        self._sums += torch.cat([loss.detach()[None].double(), counts])

    def accuracy(self) -> float | None:
        """Return the share of correct predictions, None where nothing can be correct."""
        _, correct, counted = self._sums.tolist()
        return correct / counted if counted else None

    def loss(self) -> float:
        """Return the mean loss of a gradient step."""
        return float(self._sums[0]) / self.num_steps
