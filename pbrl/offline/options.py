"""What a user may say about a dataset that its files don't."""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Settings of every loader.

    Attributes:
        device: where the episodes shall live.
        env: environment id to evaluate in; None takes what the source says.
        goal_visible: option of that environment; None takes what the source says.
        name: of the dataset, where its file is not called by it.
        max_episode_steps: time limit, for D4RL files without `timeouts`; at least 1. None takes
            what is known of the dataset of that name.
        observation_keys: for Robomimic, what is concatenated to an observation, in this order.
        download: for Minari, whether to fetch a dataset that is not there.
    """

    device: torch.device | str = "cpu"
    env: str | None = None
    goal_visible: bool | None = None
    name: str | None = None
    max_episode_steps: int | None = None
    observation_keys: tuple[str, ...] | None = None
    download: bool = False

    def __post_init__(self) -> None:
        if self.max_episode_steps is not None and self.max_episode_steps < 1:
            raise ValueError(f"max_episode_steps must be at least 1, got {self.max_episode_steps}")
        if self.observation_keys is not None and not self.observation_keys:
            raise ValueError("observation_keys must name at least one key, got none")
