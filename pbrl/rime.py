"""RIME's bounds between labels to trust, to flip and to leave out (Cheng et al. 2024).

The divergence of a label is its cross-entropy under the ensemble's mean prediction. Labels below
the lower bound are trusted, those above the upper one are flipped for this update.
"""

import math

FLIP_BOUND = -math.log(0.001)  # tau_upper: the ensemble gives the label one chance in a thousand
MOST_SLACK = 3.0


def trust_bound(largest: float, alpha: float, slack_weight: float, variance: float) -> float:
    """Return tau_lower = -ln(rho) + alpha rho + min(beta_t s, 3).

    Args:
        largest: rho, running maximum of the divergence over trusted labels, positive.
        alpha: 0.5 in RIME's code.
        slack_weight: beta_t, see `slack_weight_after`.
        variance: s, running variance of the divergence, as in RIME's code.
    """
    return -math.log(largest) + alpha * largest + min(slack_weight * variance, MOST_SLACK)


def slack_weight_after(passes: int, most: float, least: float, horizon: int) -> float:
    """Return beta_t, falling linearly from `most` to `least` over `horizon` passes.

    3 to 1 over 60 passes on DMC gives a slope of 1 / 30, over 600 on Meta-World 1 / 300.
    """
    return max(least, most - (most - least) / horizon * passes)
