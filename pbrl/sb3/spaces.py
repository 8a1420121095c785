"""Observations and actions of stable-baselines3 as the flat tensors of a replay buffer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from pbrl.envs.checks import check_action_space
from pbrl.envs.recording import unit_actions

EncodeActions = Callable[[np.ndarray, torch.device], Tensor]


def observation_size(space: spaces.Space[Any]) -> int:
    """Return the size of a flat observation.

    Raises:
        ValueError: if observations are not flat arrays.
    """
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        return space.shape[0]
    raise ValueError(
        f"observations must be flat arrays, got {space}: wrap the environment in "
        "gymnasium.wrappers.FlattenObservation first"
    )


def action_encoder(space: spaces.Space[Any]) -> tuple[int, EncodeActions]:
    """Return the size of a stored action and the function that encodes actions.

    Continuous actions are scaled to [-1, 1], where the off-policy algorithms of stable-baselines3
    keep theirs too; discrete ones become one-hot vectors.

    Raises:
        ValueError: if actions are neither bounded and continuous nor discrete.
    """
    if isinstance(space, spaces.Discrete):
        number = int(space.n)

        def one_hot(actions: np.ndarray, device: torch.device) -> Tensor:
            classes = torch.as_tensor(actions).reshape(-1).long()
            return torch.nn.functional.one_hot(classes, number).to(device, torch.float32)

        return number, one_hot
    bounds = check_action_space(space, "the environment")

    def scaled(actions: np.ndarray, device: torch.device) -> Tensor:
        return unit_actions(actions, bounds, device)

    return int(np.prod(bounds.shape)), scaled
