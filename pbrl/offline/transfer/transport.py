"""Correspondence of the segments of two tasks, whose states cannot be compared: Gromov-Wasserstein.

Only distances within a task are looked at. Masses are uniform. The solver is POT's (Peyre, Cuturi
and Solomon 2016 for "PGD", Xu et al. 2019 for "PPA").
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pbrl.checks import check_fields

# Of a segment's mass, relative. PPA comes near the masses and stays a tenth of a percent off.
SMALL_MASS_ERROR, LARGEST_MASS_ERROR = 1e-3, 0.05
SMALLEST_SPREAD = 1e-9  # of distances, relative to the numbers they are distances of


@dataclass(frozen=True, kw_only=True)
class TransportConfig:
    """How the plan is found; distances are divided by their maximum before.

    The numbers are ours, found on small problems (PEARL's own are not known here). POT's defaults
    are an epsilon of 0.1, 1,000 iterations and a tolerance of 1e-9.

    Attributes:
        solver: "PGD" finds the entropic optimum, "PPA" a plan without entropy, where epsilon only
            says how far one step goes.
        epsilon: above 0. With PGD from 1 on a plan tells next to nothing; below 0.02 the inner
            iterations run into zeros.
        max_iterations: at least 1.
        tolerance: of the change of the plan over one iteration, above 0.
        warm_start: begin each inner problem at the potentials of the last.
        anchor_weight: share of the cost of an anchor, in [0, 1), where one is given; the rest is
            the Gromov-Wasserstein cost (fused, Vayer et al. 2019).
    """

    solver: Literal["PGD", "PPA"] = "PGD"
    epsilon: float = 0.05
    max_iterations: int = 500
    tolerance: float = 1e-7
    warm_start: bool = False
    anchor_weight: float = 0.5

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("epsilon", "above 0", self.epsilon > 0),
            ("max_iterations", "at least 1", self.max_iterations >= 1),
            ("tolerance", "above 0", self.tolerance > 0),
            ("anchor_weight", "in [0, 1)", 0 <= self.anchor_weight < 1),
        )


@dataclass(frozen=True)
class Coupling:
    """A plan and how it came about.

    Attributes:
        plan: mass that goes from each source segment to each target segment; sums to 1.
        cost: what the plan minimises, without its entropy.
        is_converged: whether the plan had stopped changing.
        marginal_error: largest relative error of a segment's mass.
    """

    plan: Float[Tensor, "source target"]
    cost: float
    is_converged: bool
    marginal_error: float


def normalized_distances(
    features: Float[Tensor, "segment feature"],
    metric: Literal["euclidean", "cosine"] = "euclidean",
    task: str = "task",
) -> Float[Tensor, "segment segment"]:
    """Return distances between segments, divided by the largest, as float64.

    Args:
        features: what is compared.
        metric: how.
        task: whose segments they are, for messages.

    Raises:
        ValueError: if there are fewer than two segments, a number is not finite, or all segments
            are equal.
    """
    features = features.to(torch.float64)
    if len(features) < 2:  # noqa: PLR2004  a distance
        raise ValueError(
            f"an alignment needs at least two segments of the {task}, got {len(features)}"
        )
    if not bool(features.isfinite().all()):
        raise ValueError(f"features of the segments of the {task} must be finite")
    scale = features.norm(dim=1).max()
    if metric == "cosine":
        lengths = features.norm(dim=1, keepdim=True)
        if not bool((lengths > 0).all()):
            raise ValueError(
                f"a segment of the {task} is all zeros, which has no cosine: take euclidean"
            )
        unit = features / lengths
        distances, scale = (1 - unit @ unit.T).clamp(min=0), torch.ones(())
    else:
        distances = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    distances = (distances + distances.T) / 2
    distances.fill_diagonal_(0.0)
    largest = distances.max()
    if not bool(largest > SMALLEST_SPREAD * scale):
        raise ValueError(
            f"all {len(features)} segments of the {task} are equal: their distances are 0 and "
            "there is nothing to align"
        )
    normalized: Tensor = distances / largest
    return normalized


def transport_cost(
    source: Float[Tensor, "source source"],
    target: Float[Tensor, "target target"],
    plan: Float[Tensor, "source target"],
) -> Float[Tensor, ""]:
    """Return the sum over i, k, j, l of (C_ik - D_jl)^2 T_ij T_kl, for symmetric distances."""
    of_source, of_target = plan.sum(1), plan.sum(0)
    squares = of_source @ source.square() @ of_source + of_target @ target.square() @ of_target
    return squares - 2 * (source @ plan @ target * plan).sum()


def product_plan(num_source: int, num_target: int) -> Float[Tensor, "source target"]:
    """Return the plan that tells nothing: all to all alike."""
    return torch.full((num_source, num_target), 1.0 / (num_source * num_target)).double()


def couple(
    source: Float[Tensor, "source source"],
    target: Float[Tensor, "target target"],
    config: TransportConfig,
    *,
    anchor: Float[Tensor, "source target"] | None = None,
    start: Float[Tensor, "source target"] | None = None,
) -> Coupling:
    """Return a plan between the segments of two tasks; it is a local optimum.

    Args:
        source: normalised distances.
        target: likewise.
        config: the solver.
        anchor: cost of each pair of segments by something that can be compared; None without.
        start: where the search begins, all to all alike by default.

    Raises:
        ValueError: if there is no plan: the iterations ran into zeros.
        ImportError: naming the extra to install, if POT is not there.
    """
    start = product_plan(len(source), len(target)) if start is None else start
    plan, is_converged = _solve(source, target, config, anchor, start)
    masses = ((plan.sum(1) * len(source)), (plan.sum(0) * len(target)))
    error = max(float((mass - 1).abs().max()) for mass in masses)
    if not error < LARGEST_MASS_ERROR:  # nor for NaN
        raise ValueError(
            f"the solver came to no plan: a mass is off by {error:.1%} with epsilon "
            f"{config.epsilon}; raise epsilon"
        )
    cost = float(transport_cost(source, target, plan))
    if anchor is not None:
        weight = config.anchor_weight
        cost = (1 - weight) * cost + weight * float((anchor * plan).sum())
    return Coupling(plan, cost, is_converged, error)


def _solve(
    source: Tensor,
    target: Tensor,
    config: TransportConfig,
    anchor: Tensor | None,
    start: Tensor,
) -> tuple[Tensor, bool]:
    try:
        import ot
    except ImportError as error:
        raise ImportError("aligning tasks needs POT: pip install 'pbrl[transfer]'") from error
    options: dict[str, Any] = {
        "loss_fun": "square_loss",
        "epsilon": config.epsilon,
        "symmetric": True,
        "G0": start.numpy(),
        "max_iter": config.max_iterations,
        "tol": config.tolerance,
        "solver": config.solver,
        "warmstart": config.warm_start,
        "log": True,
    }
    given = (source.numpy(), target.numpy())
    with warnings.catch_warnings():
        # What POT warns of is looked at in the plan, and in the log.
        warnings.simplefilter("ignore")
        if anchor is None:
            plan, log = ot.gromov.entropic_gromov_wasserstein(*given, **options)
        else:
            plan, log = ot.gromov.entropic_fused_gromov_wasserstein(
                anchor.numpy(), *given, alpha=1 - config.anchor_weight, **options
            )
    return torch.from_numpy(plan), bool(log["err"][-1] <= config.tolerance)
