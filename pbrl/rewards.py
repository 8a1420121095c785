"""The reward ensemble: several networks that each give a step a reward."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from pbrl.encoders import Encoder, EncoderConfig, make_trunk
from pbrl.networks import EnsembleMLP
from pbrl.preference import sum_score
from pbrl.reward_codes import RewardCodesConfig
from pbrl.running_moments import RunningMoments
from pbrl.segments import Segments
from pbrl.state_codes import make_codes

STEPS_IN_CACHE = 1024  # on a CPU, steps whose activations stay in the cache of a core


@dataclass(frozen=True, kw_only=True)
class RewardConfig:
    """The networks of a reward ensemble; the defaults are B-Pref's (Lee et al. 2021).

    Attributes:
        num_members: networks in the ensemble. QPA (Hu et al. 2024) uses 1.
        hidden_sizes: width of each hidden layer.
        activation: after each hidden layer; "leaky_relu" has slope 0.01. Preference Transformer's
            Markovian reward (Kim et al. 2023) and CPL's (Hejna et al. 2024) use "relu".
        output: "tanh" keeps every step's reward in (-1, 1), "sigmoid" in (0, 1); "linear" does not
            bound it.
        encoder: of observations that are flat images, the reward's own; None for numbers. Such a
            reward is learned beside its agent, by `JointPIQL`.
        codes: let the networks see states and actions, normalised if they are, through TACO's codes
            (Zheng et al. 2023), which are learned without labels; None shows them as they are.
        normalize_observations: standardise observations by the moments of the replay buffer at the
            time of the last fit. Not in B-Pref.
        normalize_rewards: standardise the mean reward, over the labelled steps of the last fit, to
            mean 0 and standard deviation 1. Not in B-Pref.
    """

    num_members: int = 3
    hidden_sizes: tuple[int, ...] = (256, 256, 256)
    activation: Literal["leaky_relu", "relu"] = "leaky_relu"
    output: Literal["tanh", "sigmoid", "linear"] = "tanh"
    encoder: EncoderConfig | None = None
    codes: RewardCodesConfig | None = None
    normalize_observations: bool = False
    normalize_rewards: bool = False

    def __post_init__(self) -> None:
        if self.num_members < 1:
            raise ValueError(f"num_members must be at least 1, got {self.num_members}")
        if not all(size >= 1 for size in self.hidden_sizes):
            raise ValueError(f"hidden_sizes must be positive, got {self.hidden_sizes}")
        if self.encoder is not None and self.normalize_observations:
            raise ValueError("normalize_observations must be False with an encoder of images")
        if self.encoder is not None and self.codes is not None:
            raise ValueError("codes must be None with an encoder of images: they are of states")


class RewardEnsemble(nn.Module):
    """Networks from a step to its reward, evaluated together; members are the leading axis.

    Normalisers are buffers: they are saved with the parameters and loaded with them.

    Args:
        config: the networks.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where the ensemble lives; by default where the generator does.
        generator: source of the initial parameters, torch's defaults for linear layers as in
            B-Pref; torch's global generator when None.
    """

    def __init__(
        self,
        config: RewardConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder: nn.Sequential | None = None
        width = observation_dim
        if config.encoder is not None:
            encoder = Encoder(config.encoder, observation_dim, generator)
            width = config.encoder.num_features
            self.encoder = nn.Sequential(encoder, make_trunk(encoder.num_outputs, width, generator))
        codes = None if config.codes is None else config.codes.codes
        self.action_dim = action_dim
        self.codes = make_codes(
            codes, width, action_dim, generator=generator or torch.default_generator
        )
        width = self.codes.num_state_features + self.codes.num_action_features
        self.network = EnsembleMLP(
            config.num_members,
            (width, *config.hidden_sizes, 1),
            activation=config.activation,
            output_activation="identity" if config.output == "linear" else config.output,
            generator=generator,
        )
        self.observation_moments = RunningMoments(observation_dim)
        self.reward_moments = RunningMoments()
        self.to(device if device is not None else next(self.network.parameters()).device)

    @property
    def num_members(self) -> int:
        """Number of networks."""
        return self.config.num_members

    def forward(
        self,
        observations: Real[Tensor, "*batch obs"],
        actions: Float[Tensor, "*batch act"],
    ) -> Float[Tensor, " member *batch"]:
        """Return every member's reward for the same steps, as it is learned: not normalised."""
        inputs = self.inputs(observations, actions)
        return self.evaluate(inputs[None])

    def inputs(
        self,
        observations: Real[Tensor, "*batch obs"],
        actions: Float[Tensor, "*batch act"],
    ) -> Float[Tensor, "*batch in"]:
        """Return what the networks see: observations, normalised or encoded, and actions.

        Codes pass no gradient: they are learned by an objective of their own.
        """
        if self.encoder is not None:
            observations = self.encoder(observations)
        observations = self.standardized(observations)
        if self.config.codes is None:
            return torch.cat([observations, actions], -1)
        with torch.no_grad():
            codes = self.codes.encode_states(observations), self.codes.encode_actions(actions)
            return torch.cat(codes, -1)

    def standardized(self, observations: Real[Tensor, "*batch obs"]) -> Real[Tensor, "*batch obs"]:
        """Return observations normalised, if they are."""
        if not self.config.normalize_observations:
            return observations
        return self.observation_moments.standardize(observations)

    def evaluate(
        self, inputs: Float[Tensor, "member_or_one *batch in"]
    ) -> Float[Tensor, " member *batch"]:
        """Return rewards of prepared inputs, each member's own or, with a first axis of 1, shared.

        Those of several seeds have one more axis in front, and so have the rewards. Without
        gradients the pass goes in parts that stay in the cache, so that relabelling a large buffer
        runs at the speed of the matrix products.
        """
        leading = 1 + self.network.num_seed_axes
        batch = inputs.shape[leading:-1]
        flat = inputs.flatten(leading, -2) if batch else inputs.unsqueeze(-2)
        if torch.is_grad_enabled() or flat.device.type != "cpu":
            rewards: Tensor = self.network(flat)  # [member, step, 1]
        else:
            parts = [self.network(part) for part in flat.split(STEPS_IN_CACHE, dim=-2)]
            rewards = torch.cat(parts, -2)
        return rewards.view(*rewards.shape[:leading], *batch)

    def segment_returns(self, segments: Segments) -> Float[Tensor, " member *shape"]:
        """Return the sum of each member's rewards over each segment, padding left out."""
        return sum_score(self(segments.observations, segments.actions), segments.mask)

    def mean_reward(
        self,
        observations: Real[Tensor, "*batch obs"],
        actions: Float[Tensor, "*batch act"],
    ) -> Float[Tensor, "*batch"]:
        """Return the mean over the members: the reward that an agent learns from."""
        return self.mean_and_std(observations, actions)[0]

    def std(
        self,
        observations: Real[Tensor, "*batch obs"],
        actions: Float[Tensor, "*batch act"],
    ) -> Float[Tensor, "*batch"]:
        """Return the standard deviation over the members (ddof 0): how much they disagree."""
        return self.mean_and_std(observations, actions)[1]

    def mean_and_std(
        self,
        observations: Real[Tensor, "*batch obs"],
        actions: Float[Tensor, "*batch act"],
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """Return mean and standard deviation over the members, both in the normalised unit."""
        rewards = self(observations, actions)
        mean, std = rewards.mean(0), rewards.std(0, correction=0)
        if self.config.normalize_rewards:
            mean = self.reward_moments.standardize(mean)
            std = std / self.reward_moments.std.to(std.dtype)
        return mean, std
