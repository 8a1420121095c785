"""TACO's codes in front of networks that see states as numbers.

Zheng et al. 2023 learn them on images; on numbers, with the sizes below, they are ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pbrl.batches import ONE_STEP, Batch, BatchSteps, multistep
from pbrl.checks import check_fields
from pbrl.networks import mlp
from pbrl.taco import Taco, TacoConfig, token_size


def _without_reward() -> TacoConfig:
    return TacoConfig(reward=False, noise=0.03)


@dataclass(frozen=True, kw_only=True)
class StateCodesConfig:
    """Encoders of states and actions, and how they are learned.

    Attributes:
        hidden_sizes: of the encoder of states: ReLU between them, a LayerNorm and a tanh after the
            last, which is the size of a code.
        learning_rate: of Adam, on TACO's objective. TACO: 1e-4.
        taco: the objective. Without the reward's part: a reward that is itself learned, or pays for
            exploration, changes too much to be foretold. The noise of the second view is for
            states of standard deviation 1.
    """

    hidden_sizes: tuple[int, ...] = (256, 256)
    learning_rate: float = 1e-4
    taco: TacoConfig = field(default_factory=_without_reward)

    def __post_init__(self) -> None:
        smallest = min(self.hidden_sizes, default=0)
        check_fields(
            self,
            ("hidden_sizes", "one or more positive widths", smallest >= 1),
            ("learning_rate", "above 0", self.learning_rate > 0),
        )


@runtime_checkable
class Codes(Protocol):
    """What networks see of states and actions.

    Attributes:
        num_state_features: size of the code of a state.
        num_action_features: size of the code of an action.
        batch_steps: how far the transitions of an update reach.
    """

    num_state_features: int
    num_action_features: int
    batch_steps: BatchSteps

    def encode_states(self, states: Float[Tensor, "*batch obs"]) -> Float[Tensor, "*batch code"]:
        """Return the code of each state."""
        ...

    def encode_actions(self, actions: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch code"]:
        """Return the code of each action."""
        ...

    def encoders(self) -> list[nn.Parameter]:
        """Return the parameters of both encoders."""
        ...

    def learn(self, batch: Batch) -> dict[str, Tensor]:
        """Take one step on the objective of the codes; return metrics."""
        ...

    def parts(self) -> Mapping[str, nn.Module | torch.optim.Optimizer]:
        """Return what learning changes, by name."""
        ...


class PlainCodes:
    """States and actions as they are.

    Args:
        observation_dim: size of a state.
        action_dim: size of an action.
    """

    batch_steps = ONE_STEP

    def __init__(self, observation_dim: int, action_dim: int) -> None:
        self.num_state_features = observation_dim
        self.num_action_features = action_dim

    def encode_states(self, states: Float[Tensor, "*batch obs"]) -> Float[Tensor, "*batch obs"]:
        """Return the states."""
        return states

    def encode_actions(self, actions: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch act"]:
        """Return the actions."""
        return actions

    def encoders(self) -> list[nn.Parameter]:
        """Return nothing: there are none."""
        return []

    def learn(self, batch: Batch) -> dict[str, Tensor]:
        """Learn nothing."""
        del batch
        return {}

    def parts(self) -> dict[str, Any]:
        """Return nothing."""
        return {}


class StateCodes(nn.Module):
    """Codes of states and actions that foretell each other.

    Args:
        config: sizes and objective.
        observation_dim: size of a state.
        action_dim: size of an action.
        generator: source of initial parameters and of noise, on the device of the module.
    """

    def __init__(
        self,
        config: StateCodesConfig,
        observation_dim: int,
        action_dim: int,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config = config
        self.num_state_features = config.hidden_sizes[-1]
        self.num_action_features = token_size(action_dim)
        self.batch_steps = BatchSteps(num_actions=config.taco.num_actions)
        encoder = nn.Sequential(
            mlp(
                (observation_dim, *config.hidden_sizes),
                initialization="orthogonal",
                generator=generator,
            ),
            nn.LayerNorm(self.num_state_features, device=generator.device),
            nn.Tanh(),
        )
        self.taco = Taco(
            config.taco, encoder, self.num_state_features, action_dim, generator=generator
        )
        self.optimizer = torch.optim.Adam(
            self.taco.parameters(), lr=config.learning_rate, fused=True
        )

    def encode_states(self, states: Float[Tensor, "*batch obs"]) -> Float[Tensor, "*batch code"]:
        """Return the code of each state."""
        codes: Tensor = self.taco.encoder(states)
        return codes

    def encode_actions(self, actions: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch code"]:
        """Return the code of each action."""
        return self.taco.encode_actions(actions)

    def encoders(self) -> list[nn.Parameter]:
        """Return the parameters of both encoders."""
        return [*self.taco.encoder.parameters(), *self.taco.token.parameters()]

    def learn(self, batch: Batch) -> dict[str, Tensor]:
        """Take one step of Adam on TACO's objective, over the windows that are whole.

        Args:
            batch: of K actions, with states as the encoder sees them.

        Raises:
            TypeError: if it holds single transitions although K is larger.
        """
        told = multistep(batch, self.batch_steps)
        losses = self.taco.losses(
            told.observations, told.action_sequences, told.later_observations, told.rewards
        )
        loss = losses.total(told.is_whole)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"codes_loss": loss.detach()}

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Return the objective with its encoders, and its optimiser."""
        return {"codes": self.taco, "codes_optimizer": self.optimizer}


def make_codes(
    config: StateCodesConfig | None,
    observation_dim: int,
    action_dim: int,
    *,
    generator: torch.Generator,
) -> Codes:
    """Return codes, or without a configuration states and actions as they are."""
    if config is None:
        return PlainCodes(observation_dim, action_dim)
    return StateCodes(config, observation_dim, action_dim, generator=generator)
