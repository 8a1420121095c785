"""Greedy k-center: choose points far from everything chosen before."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def nearest_distance(
    points: Float[Tensor, "point feature"], centres: Float[Tensor, "centre feature"]
) -> Float[Tensor, " point"]:
    """Return the Euclidean distance of every point to its nearest centre; infinite without centres.

    A matrix product finds the nearest centre; the distance to it is then taken from the
    difference, which does not cancel. Memory: one number per point and centre.
    """
    if len(centres) == 0:
        return points.new_full((len(points),), torch.inf)
    origin = centres.mean(0)
    shifted = centres - origin
    # |point - centre|^2 but for |point|^2, which is the same for every centre
    partial = torch.addmm(shifted.square().sum(1), points - origin, shifted.T, alpha=-2)
    distance: Tensor = torch.linalg.vector_norm(points - centres[partial.argmin(1)], dim=1)
    return distance


def greedy_k_center(
    points: Float[Tensor, "point feature"], nearest: Float[Tensor, " point"], number: int
) -> Int[Tensor, " pick"]:
    """Return `number` different points, each the farthest from all centres and earlier picks.

    Sener and Savarese 2018, algorithm 1; on a tie the first point is taken, as in B-Pref. The
    distance to the nearest centre only shrinks, so an old one is an upper bound: a point is
    measured against the picks it has missed only when its bound is the largest of all.

    Args:
        points: the candidates.
        nearest: distance of each to its nearest centre, infinite where there is none.
        number: how many to pick.

    Raises:
        ValueError: if there are fewer points than `number`.
    """
    if number > len(points):
        raise ValueError(f"cannot pick {number} of {len(points)} points")
    bound = nearest.clone()
    num_seen = [0] * len(points)  # earlier picks that each bound takes into account
    picks: list[int] = []
    picked = points.new_empty((number, points.shape[1]))
    while len(picks) < number:
        best = int(bound.argmax())
        if num_seen[best] < len(picks):
            missed = picked[num_seen[best] : len(picks)] - points[best]
            bound[best] = bound[best].minimum(torch.linalg.vector_norm(missed, dim=1).min())
            num_seen[best] = len(picks)
        else:
            picked[len(picks)] = points[best]
            picks.append(best)
            bound[best] = -torch.inf
    return torch.tensor(picks, dtype=torch.int64, device=points.device)
