"""Agents that are made of named networks and optimisers, and their state."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from pbrl.agents.policies import Policy

ConfigT = TypeVar("ConfigT")
Parts = Mapping[str, nn.Module | torch.optim.Optimizer | None]
"""By name; None where a configuration has no such part."""


def descend(
    optimizer: torch.optim.Optimizer,
    loss: Float[Tensor, "*seed"],
    largest_gradient: float | None = None,
) -> None:
    """Take one step down a loss; seeds that are trained at once share no parameter.

    Args:
        optimizer: of the parameters to move.
        loss: of each seed.
        largest_gradient: norm over all of a seed's parameters to which its gradient is shortened
            where it is longer; None leaves it.
    """
    optimizer.zero_grad()
    loss.sum().backward()
    if largest_gradient is not None:
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        shorten([one.grad for one in parameters if one.grad is not None], largest_gradient, loss)
    optimizer.step()


def shorten(gradients: Sequence[Tensor], largest: float, like: Float[Tensor, "*seed"]) -> None:
    """Shorten gradients in place where their common norm, of each seed, exceeds the largest."""
    squares = [one.square().flatten(like.ndim).sum(-1) for one in gradients]
    scale = (largest / torch.stack(squares).sum(0).sqrt()).clamp(max=1.0)
    for one in gradients:
        one.mul_(scale.reshape(*scale.shape, *(1,) * (one.ndim - scale.ndim)))


def state_of_parts(parts: Parts, num_updates: int) -> dict[str, Any]:
    """Return the state of every part, and the number of updates."""
    states = {name: _state_of(part) for name, part in parts.items() if part is not None}
    return states | {"num_updates": num_updates}


def _state_of(part: nn.Module | torch.optim.Optimizer) -> dict[str, Any]:
    """Return a part's state, the same however updates are made.

    Recorded ones read rates from the device, and compiled ones mark their optimisers.
    """
    state = part.state_dict()
    if not isinstance(part, torch.optim.Optimizer):
        return state
    plain = {"capturable": False}
    groups = [group | plain | {"lr": float(group["lr"])} for group in state["param_groups"]]
    return {**state, "param_groups": groups}


def load_parts(parts: Parts, state: Mapping[str, Any]) -> int:
    """Restore what `state_of_parts` returned, and return the number of updates."""
    for name, part in parts.items():
        if part is not None:
            # torch keeps the tensors of a loaded optimiser and would write into the giver's.
            part.load_state_dict(copy.deepcopy(state[name]))
    return int(state["num_updates"])


class AgentOfParts(ABC, Generic[ConfigT]):
    """What agents share that learn by their own networks and optimisers.

    Args:
        config: kept as `config`.
        device: where networks and batches live.
        generator: draws all that is random; on `device`. Whoever owns it saves its state.

    Attributes:
        generator: one for each seed where several are trained at once, see `pbrl.seeds`.
        num_updates: updates so far; `update` counts them.
        takes_seeds: whether all that an update does is right with an axis of seeds in front.
        is_recordable: whether updates can be recorded and played back, see `RecordedUpdate`.
        is_recorded: whether they are; whoever records them calls `prepare_update` before each.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    takes_seeds: ClassVar[bool] = False
    is_recordable: bool = False
    is_recorded: bool = False

    def __init__(
        self, config: ConfigT, *, device: torch.device | str, generator: torch.Generator
    ) -> None:
        self.config = config
        self.device = torch.device(device)
        self.generator = generator
        if generator.device.type != self.device.type:
            raise ValueError(f"generator must be on {self.device}, got one on {generator.device}")
        self.num_updates = 0

    @abstractmethod
    def update(self, batch: Any) -> dict[str, Tensor]:
        """Learn from one batch and return detached scalars under their names."""

    @abstractmethod
    def _parts(self) -> Parts:
        """Return all that learning changes, but for what `state_dict` adds."""

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimisers, in a fixed order."""
        return [one for one in self._parts().values() if isinstance(one, torch.optim.Optimizer)]

    @property
    def update_kind(self) -> Hashable | None:
        """What tells the operations of the next update from those of others.

        Updates of one kind, from batches of equal shapes, differ in numbers on the device alone.
        None for one that must be made as it is.
        """
        return ()

    def prepare_update(self) -> None:
        """Bring numbers that change from update to update to where the next one reads them."""

    def _kept(self, held: float | Tensor, value: float) -> float | Tensor:
        """Return a number for an update; where these are recorded, in the tensor that holds it."""
        if not self.is_recorded:
            return value
        if isinstance(held, Tensor):
            return held.fill_(value)
        # Not in the default type: a fused Adam on CUDA reads a rate as single precision.
        return torch.tensor(value, dtype=torch.float32, device=self.device)

    def _set_rate(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        """Let an optimiser take its next step at this learning rate."""
        group = optimizer.param_groups[0]
        group["lr"] = self._kept(group["lr"], rate)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every part and the number of updates."""
        return state_of_parts(self._parts(), self.num_updates)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.num_updates = load_parts(self._parts(), state)


class PolicyAgent(AgentOfParts[ConfigT]):
    """An agent that acts by its `policy` alone."""

    policy: Policy

    def act(
        self, observations: Real[Tensor, "*seed batch obs"], deterministic: bool
    ) -> Float[Tensor, "*seed batch act"]:
        """Return actions in [-1, 1]: the mean, or a sample where the policy has a deviation."""
        return self.policy.act(observations, deterministic, self.generator)
