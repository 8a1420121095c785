"""Policies that read an episode's history and what they are conditioned on."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pbrl.sequences import TokenEmbedding, new_linear
from pbrl.transformer import Transformer, TransformerConfig

TOKENS_PER_STEP = 3
OF_STATES = slice(1, None, TOKENS_PER_STEP)  # tokens of a step: condition, state, action


@dataclass(frozen=True, kw_only=True)
class SequencePolicyConfig:
    """A causal transformer over conditions, states and actions.

    Attributes:
        transformer: its blocks.
        context: K, steps that the policy looks back over, this one included.
        num_timesteps: rows of the table of places, at least as many as an episode of the dataset
            has steps; when acting, later steps count as the last.
        timed_condition: add the place to the conditions as well.
        predict_observations: a second head, from each action to the next observation.
    """

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    context: int = 20
    num_timesteps: int = 1_000
    timed_condition: bool = True
    predict_observations: bool = False

    def __post_init__(self) -> None:
        if self.transformer.kind != "causal":
            raise ValueError(f"the transformer must be causal, got {self.transformer.kind}")
        if not 1 <= self.context <= self.num_timesteps:
            raise ValueError(
                f"context must lie between 1 and the {self.num_timesteps} rows of the table of "
                f"places (num_timesteps), got {self.context}"
            )


class SequencePolicy(nn.Module):
    """Maps the history of conditions, states and actions to the next action, in [-1, 1].

    With returns to go for conditions it is Decision Transformer's (Chen et al. 2021), with a code
    of behaviour OPPO's (Kang et al. 2023).

    Args:
        config: the network.
        condition_dim: size of a condition; 1 for a return.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        generator: source of the initial parameters, which are made on its device, and of dropout.
    """

    def __init__(
        self,
        config: SequencePolicyConfig,
        condition_dim: int,
        observation_dim: int,
        action_dim: int,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config = config
        self.dims = (condition_dim, observation_dim, action_dim)
        width = config.transformer.width
        self.embedding = TokenEmbedding(
            self.dims,
            width,
            config.num_timesteps,
            generator=generator,
            untimed=() if config.timed_condition else (0,),
        )
        self.transformer = Transformer(config.transformer, generator)
        self.action_head = new_linear(width, action_dim, generator)
        self.observation_head = (
            new_linear(width, observation_dim, generator) if config.predict_observations else None
        )

    def forward(
        self,
        conditions: Float[Tensor, "batch time condition"],
        observations: Float[Tensor, "batch time obs"],
        actions: Float[Tensor, "batch time act"],
        timesteps: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"],
        *,
        last_only: bool = False,
    ) -> Float[Tensor, "batch time_or_one act"]:
        """Return the action for each step, from what is known before it is taken.

        Args:
            conditions: of each step.
            observations: likewise.
            actions: likewise; the last one is never looked at.
            timesteps: place of each step in its episode.
            mask: false on padding.
            last_only: return the action of the last step alone, which saves most of the last block.
        """
        tokens = self.embed(conditions, observations, actions, timesteps)[:, :-1]
        seen = mask.repeat_interleave(TOKENS_PER_STEP, 1)[:, :-1]
        read = slice(-1, None) if last_only else OF_STATES
        return self.actions_of(self.transformer(tokens, seen, read))

    def predict(
        self,
        conditions: Float[Tensor, "batch time condition"],
        observations: Float[Tensor, "batch time obs"],
        actions: Float[Tensor, "batch time act"],
        timesteps: Int[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"],
    ) -> tuple[Float[Tensor, "batch time act"], Float[Tensor, "batch time obs"]]:
        """Return the action for each step, and what the observation head says after each action."""
        assert self.observation_head is not None  # configured
        tokens = self.embed(conditions, observations, actions, timesteps)
        outputs = self.transformer(tokens, mask.repeat_interleave(TOKENS_PER_STEP, 1))
        of_actions = outputs[:, 2::TOKENS_PER_STEP].contiguous()
        observed: Tensor = self.observation_head(of_actions)
        return self.actions_of(outputs[:, OF_STATES].contiguous()), observed

    def embed(
        self,
        conditions: Float[Tensor, "batch time condition"],
        observations: Float[Tensor, "batch time obs"],
        actions: Float[Tensor, "batch time act"],
        timesteps: Int[Tensor, "batch time"],
    ) -> Float[Tensor, "batch token width"]:
        """Return three tokens per step: condition, state, action."""
        tokens: Tensor = self.embedding((conditions, observations, actions), timesteps)
        return tokens

    def actions_of(
        self, outputs: Float[Tensor, "batch time width"]
    ) -> Float[Tensor, "batch time act"]:
        """Return the actions that the tokens of states came to."""
        return torch.tanh(self.action_head(outputs))
