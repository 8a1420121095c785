"""Counting how training goes without waiting for the device."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class Tally:
    """Sums over gradient steps, kept on the device until somebody asks.

    Args:
        device: where the sums are.
        seeds: of how many seeds they are, each apart; none for one alone.

    Attributes:
        num_steps: gradient steps counted; whoever takes them keeps it.
        sums: over them, of the loss, of what is correct, what is counted, distances and shares.
    """

    def __init__(self, device: torch.device, *seeds: int) -> None:
        self.num_steps = 0
        self.sums = torch.zeros(*seeds, 5, dtype=torch.float64, device=device)

    def add(
        self,
        loss: Float[Tensor, "*seed"],
        correct: Bool[Tensor, "*seed member pair crop"],
        counted: Bool[Tensor, "*seed member pair one"],
    ) -> None:
        """Add a part of a minibatch.

        Args:
            loss: its share of the minibatch's loss.
            correct: which predictions are right.
            counted: which pairs have a right answer, one mark for all crops of a pair.
        """
        num_crops = correct.shape[-1]
        right, judged = (marks.sum((-3, -2, -1)) for marks in (correct, counted))
        parts = [loss.detach().double(), right.double(), judged.double() * num_crops]
        self.sums[..., :3] += torch.stack(parts, -1)

    def add_distance(self, distance: Float[Tensor, "*seed"]) -> None:
        """Add a part of a minibatch's distance from a prior."""
        self.sums[..., 3] += distance.detach()

    def add_sure(self, share: Float[Tensor, ""]) -> None:
        """Add a part of the share of a minibatch's pairs that were labelled by the reward."""
        self.sums[..., 4] += share

    def add_step(self, sums: Float[Tensor, "*seed sum"]) -> None:
        """Add a whole gradient step, by the sums of a tally of its own."""
        self.num_steps += 1
        self.sums += sums

    def __add__(self, other: "Tally") -> "Tally":
        total = Tally(self.sums.device, *self.sums.shape[:-1])
        total.num_steps = self.num_steps + other.num_steps
        total.sums = self.sums + other.sums
        return total

    def unbind(self) -> list["Tally"]:
        """Return the tally of each seed."""
        parts = []
        for sums in self.sums.unbind():
            part = Tally(sums.device)
            part.num_steps, part.sums = self.num_steps, sums
            parts.append(part)
        return parts

    def accuracy(self) -> float | None:
        """Return the share of correct predictions, None where nothing can be correct."""
        _, correct, counted, *_ = self.sums.tolist()
        return correct / counted if counted else None

    def loss(self) -> float:
        """Return the mean loss of a gradient step."""
        return float(self.sums[0]) / self.num_steps

    def distance(self) -> float:
        """Return the mean distance of a gradient step from a prior."""
        return float(self.sums[3]) / self.num_steps

    def sure(self) -> float:
        """Return the mean share of a gradient step's pairs that were labelled by the reward."""
        return float(self.sums[4]) / self.num_steps
