"""Labels of a source task, carried to a target task along a transport plan."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.feedback import TIE


class Carried(NamedTuple):
    """Labels of all pairs of target segments.

    Attributes:
        labels: P(the second, a column, is preferred to the first, a row), in [0, 1].
        support: share of each pair's correspondence that lies on source pairs with a label.
    """

    labels: Float[Tensor, "target target"]
    support: Float[Tensor, "target target"]


def label_matrix(
    num_segments: int, pairs: Int[Tensor, "answer two"], labels: Float[Tensor, " answer"]
) -> tuple[Float[Tensor, "source source"], Bool[Tensor, "source source"]]:
    """Return P(column preferred to row) of every pair, and where it is known.

    Labels are read both ways round; several answers to one pair are averaged. A segment ties with
    itself. What is not known is one half.
    """
    sums = torch.zeros(num_segments, num_segments, dtype=torch.float64)
    counts = torch.zeros_like(sums)
    first, second = pairs.unbind(1)
    labels = labels.to(torch.float64)
    for rows, columns, values in ((first, second, labels), (second, first, 1 - labels)):
        sums.index_put_((rows, columns), values, accumulate=True)
        counts.index_put_((rows, columns), torch.ones_like(values), accumulate=True)
    matrix = torch.where(counts > 0, sums / counts.clamp(min=1), TIE)
    matrix.fill_diagonal_(TIE)
    return matrix, (counts > 0).fill_diagonal_(fill_value=True)


def carried_labels(
    plan: Float[Tensor, "source target"],
    labels: Float[Tensor, "source source"],
    known: Bool[Tensor, "source source"] | None = None,
) -> Carried:
    """Return y_jl = sum_ik T_ij T_kl Z_ik / sum_ik T_ij T_kl of all target pairs.

    PEARL (Liu et al. 2024): the source labels weighted by the correspondence. Without the division
    a label 1 carried by an identity of three segments would become 1/9. Where only some source
    pairs have a label, both sums go over those; where none of the correspondence does, the label is
    one half.

    Args:
        plan: T, in any scale.
        labels: Z, see `label_matrix`.
        known: which of them are given; all when None.
    """
    plan = plan / plan.sum()
    mass = plan.sum(0)
    total = (mass[:, None] * mass).clamp(min=torch.finfo(plan.dtype).tiny)
    if known is None:
        known = torch.ones_like(labels, dtype=torch.bool)
    counted = plan.T @ known.to(plan.dtype) @ plan
    sums = plan.T @ torch.where(known, labels, 0.0) @ plan
    support = counted / total
    is_supported = support > torch.finfo(plan.dtype).eps
    values = torch.where(is_supported, sums / torch.where(is_supported, counted, 1.0), TIE)
    return Carried(values.clamp(0, 1), support.clamp(0, 1))
