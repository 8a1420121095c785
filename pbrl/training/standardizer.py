"""Observations of mean 0 and standard deviation 1 over a dataset."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from pbrl.replay import ReplayBuffer

MARGIN = 1e-3  # added to the deviation, as TD3+BC (Fujimoto and Gu 2021) and Uni-RLHF do


@dataclass(frozen=True)
class Standardizer:
    """Subtracts a mean and divides by a standard deviation.

    Attributes:
        mean: of each number of an observation.
        std: likewise, with a margin that keeps constant numbers small.
    """

    mean: Float[Tensor, " obs"]
    std: Float[Tensor, " obs"]

    @staticmethod
    def of(replay: ReplayBuffer) -> "Standardizer":
        """Return the one of all observations in a buffer."""
        observations = replay.all_observations()
        return Standardizer(observations.mean(0), observations.std(0, correction=0) + MARGIN)

    def __call__(self, observations: Float[Tensor, "*batch obs"]) -> Float[Tensor, "*batch obs"]:
        """Return standardised observations."""
        return (observations - self.mean) / self.std

    def state_dict(self) -> dict[str, Tensor]:
        """Return mean and standard deviation."""
        return {"mean": self.mean, "std": self.std}
