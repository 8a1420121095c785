"""RUNE's exploration bonus: steps on which the reward ensemble disagrees pay more."""

from jaxtyping import Float
from torch import Tensor


def bonus_weight(initial: float, decay: float, step: int) -> float:
    """Return beta_t = beta_0 (1 - rho)^t, the weight of the bonus at an environment step.

    Liang et al. 2022; their code calls it linear, but it is geometric. beta_0 is 0.05 and rho 1e-5
    in their scripts, 1e-3 for drawer-open.
    """
    return float(initial * (1.0 - decay) ** step)


def with_bonus(
    mean: Float[Tensor, "*batch"], std: Float[Tensor, "*batch"], weight: float
) -> Float[Tensor, "*batch"]:
    """Return the reward to explore by: mean over the members plus weight times their ddof-0 std."""
    return mean + weight * std
