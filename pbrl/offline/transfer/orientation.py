"""Which way round an alignment lies: distances alone cannot tell a set from its mirror image."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.feedback import TIE
from pbrl.offline.transfer.transport import (
    Coupling,
    TransportConfig,
    couple,
    product_plan,
    transport_cost,
)


@dataclass(frozen=True)
class Orientation:
    """How an alignment compares with the best one the other way round.

    Attributes:
        similarity: of the labels that both give, cosine about one half, in [-1, 1]. At 1 the search
            from the other way round came back to the same plan.
        rivalry: what the other one gains over all to all alike, as a share of what this one gains;
            at 1 it is as good.
    """

    similarity: float
    rivalry: float

    def is_ambiguous(self, most: float) -> bool:
        """Return whether a contrary alignment has a rivalry above `most`."""
        return self.similarity < 0 and self.rivalry > most


def mirrored(
    plan: Float[Tensor, "source target"], source: Float[Tensor, "source source"]
) -> Float[Tensor, "source target"]:
    """Return the plan with the source segments exchanged end for end.

    Their order is that along the first axis of classical multidimensional scaling: the direction in
    which they differ most.
    """
    number = len(source)
    centre = torch.eye(number, dtype=source.dtype) - 1 / number
    inner = -centre @ source.square() @ centre / 2
    order = torch.linalg.eigh(inner).eigenvectors[:, -1].argsort()
    turned = torch.empty_like(plan)
    turned[order] = plan[order.flip(0)]
    return turned


def oriented_coupling(
    source: Float[Tensor, "source source"],
    target: Float[Tensor, "target target"],
    config: TransportConfig,
    anchor: Float[Tensor, "source target"] | None = None,
) -> tuple[Coupling, Coupling | None]:
    """Return the better of two alignments, and the other; None if that search came to no plan.

    One search begins at all to all alike, the other at the mirror image of what the first found.

    Raises:
        ValueError: if there is no plan.
    """
    first = couple(source, target, config, anchor=anchor)
    try:
        second = couple(source, target, config, anchor=anchor, start=mirrored(first.plan, source))
    except ValueError:
        return first, None
    return (second, first) if second.cost < first.cost else (first, second)


def judge(
    chosen: Coupling,
    other: Coupling,
    labels: tuple[Float[Tensor, "target target"], Float[Tensor, "target target"]],
    uninformed_cost: float,
) -> Orientation:
    """Return how far the other alignment rivals the chosen one.

    Args:
        chosen: the better one.
        other: the other.
        labels: that each of them gives.
        uninformed_cost: of the plan that tells nothing, see `uninformed_cost_of`.
    """
    one, two = (part.flatten() - TIE for part in labels)
    norms = (one.norm() * two.norm()).clamp(min=torch.finfo(one.dtype).tiny)
    gain = uninformed_cost - chosen.cost
    rivalry = (uninformed_cost - other.cost) / gain if gain > 0 else 1.0
    return Orientation(float(one @ two / norms), rivalry)


def uninformed_cost_of(
    source: Float[Tensor, "source source"],
    target: Float[Tensor, "target target"],
    config: TransportConfig,
    anchor: Float[Tensor, "source target"] | None = None,
) -> float:
    """Return the cost of sending all to all alike."""
    plan = product_plan(len(source), len(target))
    cost = float(transport_cost(source, target, plan))
    if anchor is None:
        return cost
    weight = config.anchor_weight
    return (1 - weight) * cost + weight * float(anchor.mean())
