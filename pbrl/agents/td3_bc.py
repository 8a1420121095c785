"""TD3+BC on a dataset of images, with DrQ-v2's networks, by itself or with TACO's codes."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Real
from torch import Tensor

from pbrl.agents.drqv2 import DrQv2, DrQv2Config
from pbrl.checks import check_fields
from pbrl.pairs import OfflineBatch, OfflineBatchSizes

ALPHA = 2.5


def _with_cloning() -> DrQv2Config:
    return DrQv2Config(cloning=ALPHA, noise=(0.2, 0.2), noise_limit=0.5)


@dataclass(frozen=True, kw_only=True)
class TD3BCConfig:
    """What learns, and from how many transitions.

    TACO's paper plugs its codes into TD3+BC (Fujimoto and Gu 2021) on images and released no code
    for it. Here TD3+BC is DrQ-v2 with the actor's loss and the noise of the former, written from
    memory: its actor learns as often as its critics, in TD3 half as often, and from the smaller
    value of both critics at an action with noise, in TD3+BC from that of one at the action itself.

    Attributes:
        learner: networks and rates; its `cloning` is TD3+BC's alpha, of which 2.5 is theirs, as are
            noise 0.2 and its limit 0.5.
        batch_size: transitions per update. DrQ-v2: 256.
    """

    learner: DrQv2Config = field(default_factory=_with_cloning)
    batch_size: int = 256

    def __post_init__(self) -> None:
        check_fields(self, ("batch_size", "at least 1", self.batch_size >= 1))
        if self.learner.cloning is None:
            raise ValueError("learner.cloning must be above 0: without, nothing holds to the data")


class TD3BC:
    """An actor that seeks value near what the dataset did, from images and their rewards.

    Args:
        config: what learns.
        observation_dim: size of a flat stack of images.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: see `DrQv2`.

    Raises:
        ValueError: as `DrQv2` does.
    """

    learns_from_rewards = True

    def __init__(
        self,
        config: TD3BCConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        self.config = config
        self.learner = DrQv2(
            config.learner, observation_dim, action_dim, device=device, generator=generator
        )

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws."""
        return OfflineBatchSizes(transitions=self.config.batch_size, steps=self.learner.batch_steps)

    def act(
        self, observations: Real[Tensor, "batch obs"], deterministic: bool
    ) -> Float[Tensor, "batch act"]:
        """Return actions in [-1, 1]: the actor's, or with noise."""
        return self.learner.act(observations, deterministic)

    def update(self, batch: OfflineBatch) -> dict[str, Tensor]:
        """Update everything as `DrQv2` does; return metrics.

        Raises:
            ValueError: if the batch holds no transitions.
        """
        if batch.transitions is None:
            raise ValueError(f"the batch must hold what {self.batch_sizes} asks for")
        return self.learner.update(batch.transitions)

    def state_dict(self) -> dict[str, Any]:
        """Return all that learning has changed."""
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.learner.load_state_dict(state)
