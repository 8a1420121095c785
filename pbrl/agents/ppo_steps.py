"""The steps of an update of PPO, with what it has found out about them."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Judged:
    """Steps with what an update has found out about them, in one row.

    Attributes:
        inputs: what the networks see of the observations.
        actions: what was done.
        log_prob: its log density by the policy that did it.
        advantages: standardised.
        targets: of the value's network, standardised.
    """

    inputs: Float[Tensor, "*seed batch obs"]
    actions: Float[Tensor, "*seed batch act"]
    log_prob: Float[Tensor, "*seed batch"]
    advantages: Float[Tensor, "*seed batch"]
    targets: Float[Tensor, "*seed batch"]

    def shuffled(self, order: Int[Tensor, "*seed batch"], num_parts: int) -> "list[Judged]":
        """Return the steps in this order, cut into parts of equal size; what is left over falls."""
        size = order.shape[-1] // num_parts
        order = order[..., : size * num_parts]
        columns = []
        for field in fields(self):
            column = getattr(self, field.name)
            time = order.ndim - 1
            index = order if column.ndim == order.ndim else order[..., None]
            columns.append(torch.take_along_dim(column, index, time).split(size, time))
        return [Judged(*part) for part in zip(*columns, strict=True)]
