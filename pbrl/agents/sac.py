"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905) as in B-Pref (Lee et al. 2021)."""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pbrl.agents.sac_losses import (
    actor_loss,
    critic_loss,
    soft_target,
    soft_value,
    temperature_loss,
)
from pbrl.agents.state import AgentOfParts, Parts, descend
from pbrl.agents.tanh_gaussian import LogStdMode, TanhGaussian, log_density, squash
from pbrl.batches import Batch, BatchSteps
from pbrl.checks import check_fields
from pbrl.networks import EnsembleMLP, frozen, move_towards
from pbrl.randomness import standard_normal
from pbrl.running_moments import RunningMoments
from pbrl.state_codes import StateCodesConfig, make_codes

LARGEST_INPUT = 10.0  # standard deviations, as `VecNormalize` of stable-baselines3 keeps


@dataclass(frozen=True, kw_only=True)
class SACConfig:
    """Networks and rates; the defaults are B-Pref's for its walker and cheetah tasks.

    Attributes:
        hidden_sizes: widths of the hidden layers of actor and critics, ReLU between them. B-Pref:
            1024, 1024 on DMC; 256, 256, 256 on Meta-World.
        actor_lr: learning rate of Adam, above 0. B-Pref: 5e-4 for walker and cheetah, 1e-4 for
            quadruped and humanoid, 3e-4 on Meta-World.
        critic_lr: likewise, the same in B-Pref.
        temperature_lr: likewise; 0 keeps the temperature where it starts. B-Pref: 1e-4.
        betas: decay rates of Adam's two moments, in [0, 1).
        initial_temperature: weight alpha of the entropy at the start, above 0. B-Pref: 0.1.
        target_entropy: entropy in nats that the temperature steers to; None is minus the size of
            an action.
        discount: gamma, in [0, 1].
        target_rate: tau, step of the target critics towards the critics, in (0, 1].
        target_update_every: updates between two such steps.
        actor_update_every: critic updates per update of actor and temperature.
        log_std_bounds: range of the log standard deviation before the tanh.
        log_std_mode: how it is kept: "tanh" rescales, with B-Pref's bounds (-5, 2); "clamp" cuts
            off, with bounds (-20, 2) as in stable-baselines3.
        initialization: "orthogonal" with zero biases as in B-Pref, or "torch" for torch's default
            as in stable-baselines3.
        normalize_observations: let the networks see observations standardised by the moments of
            all batches so far, cut off at ten standard deviations, as `VecNormalize` of
            stable-baselines3 does. B-Pref does not. On Meta-World, whose observations are
            positions in metres that differ by centimetres, the networks learn sooner with it.
        codes: let the networks see states and actions through TACO's codes (Zheng et al. 2023),
            which are learned beside them; None shows them as they are. Its objective comes last in
            an update, and the critics' gradient trains the codes too, as in TACO's code.
    """

    hidden_sizes: tuple[int, ...] = (1024, 1024)
    actor_lr: float = 5e-4
    critic_lr: float = 5e-4
    temperature_lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)
    initial_temperature: float = 0.1
    target_entropy: float | None = None
    discount: float = 0.99
    target_rate: float = 0.005
    target_update_every: int = 2
    actor_update_every: int = 1
    log_std_bounds: tuple[float, float] = (-5.0, 2.0)
    log_std_mode: LogStdMode = "tanh"
    initialization: Literal["orthogonal", "torch"] = "orthogonal"
    normalize_observations: bool = False
    codes: StateCodesConfig | None = None

    def __post_init__(self) -> None:
        smallest_width = min(self.hidden_sizes, default=0)
        check_fields(
            self,
            ("hidden_sizes", "one or more positive widths", smallest_width >= 1),
            ("actor_lr", "above 0", self.actor_lr > 0),
            ("critic_lr", "above 0", self.critic_lr > 0),
            ("temperature_lr", "0 or above", self.temperature_lr >= 0),
            ("betas", "in [0, 1)", all(0 <= beta < 1 for beta in self.betas)),
            ("initial_temperature", "above 0", self.initial_temperature > 0),
            ("discount", "in [0, 1]", 0 <= self.discount <= 1),
            ("target_rate", "in (0, 1]", 0 < self.target_rate <= 1),
            ("target_update_every", "1 or above", self.target_update_every >= 1),
            ("actor_update_every", "1 or above", self.actor_update_every >= 1),
            ("log_std_bounds", "increasing", self.log_std_bounds[0] < self.log_std_bounds[1]),
            ("log_std_mode", "tanh or clamp", self.log_std_mode in ("tanh", "clamp")),
            (
                "initialization",
                "orthogonal or torch",
                self.initialization in ("orthogonal", "torch"),
            ),
        )


class SAC(AgentOfParts[SACConfig]):
    """A tanh-Gaussian actor, two critics in one batched network, and a learned temperature.

    Args:
        config: networks and rates.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters and noise; on `device`. Whoever owns it saves its state.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    takes_seeds = True
    is_recordable = True

    def __init__(
        self,
        config: SACConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, device=device, generator=generator)
        self.observation_dim = observation_dim
        self.action_dim = action_dim
        entropy = config.target_entropy
        self.target_entropy = -float(action_dim) if entropy is None else entropy
        self.observation_moments = RunningMoments(observation_dim).to(device)
        self.codes = make_codes(config.codes, observation_dim, action_dim, generator=generator)
        self.actor = TanhGaussian(
            self.codes.num_state_features,
            action_dim,
            config.hidden_sizes,
            log_std_bounds=config.log_std_bounds,
            log_std_mode=config.log_std_mode,
            initialization=config.initialization,
            generator=generator,
        ).to(device)
        initial = torch.tensor(math.log(config.initial_temperature), device=device)
        self.log_temperature = nn.Parameter(initial)
        # One optimiser for both: their gradients are disjoint, so one backward pass serves too.
        self.policy_optimizer = torch.optim.Adam(
            [
                {"params": list(self.actor.parameters()), "lr": config.actor_lr},
                {"params": [self.log_temperature], "lr": config.temperature_lr},
            ],
            betas=config.betas,
            fused=True,
        )
        self.reset_critic()

    def reset_critic(self) -> None:
        """Draw new critics, copy them to the targets and forget the critics' optimiser.

        Actor, temperature and codes stay: PEBBLE's switch from exploration to preferences.
        """
        config, codes = self.config, self.codes
        width = codes.num_state_features + codes.num_action_features
        sizes = (width, *config.hidden_sizes, 1)
        self.critic, self.target_critic = (
            EnsembleMLP(
                2, sizes, initialization=config.initialization, generator=self.generator
            ).to(self.device)
            for _ in range(2)
        )
        self.target_critic.load_state_dict(self.critic.state_dict())
        self.target_critic.requires_grad_(requires_grad=False)
        self.critic_optimizer = torch.optim.Adam(
            [*self.critic.parameters(), *codes.encoders()],
            lr=config.critic_lr,
            betas=config.betas,
            fused=True,
        )

    @property
    def batch_steps(self) -> BatchSteps:
        """How far the transitions of an update reach."""
        return self.codes.batch_steps

    @property
    def update_kind(self) -> Hashable:
        """Whether the next update moves the actor, and whether the targets."""
        config = self.config
        every = (config.actor_update_every, config.target_update_every)
        return tuple(self.num_updates % number == 0 for number in every)

    @property
    def temperature(self) -> Float[Tensor, "*seed"]:
        """Weight alpha of the entropy."""
        return self.log_temperature.exp()

    @torch.no_grad()
    def act(
        self, observations: Float[Tensor, "*seed batch obs"], deterministic: bool
    ) -> Float[Tensor, "*seed batch act"]:
        """Return actions in [-1, 1]: the tanh of the mean, or a sample."""
        inputs = self._inputs(observations)
        if deterministic:
            return torch.tanh(self.actor(inputs)[0])
        return self._sample(inputs)[0]

    def distribution(
        self, observations: Float[Tensor, "*batch obs"]
    ) -> tuple[Float[Tensor, "*batch act"], Float[Tensor, "*batch act"]]:
        """Return mean and log standard deviation of the policy before the tanh."""
        mean, log_std = self.actor(self._inputs(observations))
        return mean, log_std

    def log_prob(
        self, observations: Float[Tensor, "*batch obs"], actions: Float[Tensor, "*batch act"]
    ) -> Float[Tensor, "*batch"]:
        """Return the policy's log density of given actions, differentiable in its parameters."""
        mean, log_std = self.distribution(observations)
        return log_density(mean, log_std, actions)

    def q_values(
        self,
        observations: Float[Tensor, "*seed batch obs"],
        actions: Float[Tensor, "*seed batch act"],
    ) -> Float[Tensor, "*seed critic batch"]:
        """Return each critic's Q(s, a)."""
        return self._evaluate(self.critic, self._inputs(observations), actions)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Update the critics, then actor and temperature, then targets and codes; return metrics.

        Args:
            batch: reaching as far as `batch_steps` says.
        """
        if self.config.normalize_observations:
            self.observation_moments.update(batch.observations)
            batch = batch.seen_through(self._standardized)
        seen = self._encoded(batch)
        metrics = self.update_critic(seen)
        if self.num_updates % self.config.actor_update_every == 0:
            metrics |= self.update_actor(seen.observations.detach())
        if self.num_updates % self.config.target_update_every == 0:
            move_towards(self.target_critic, self.critic, self.config.target_rate)
        metrics |= self.codes.learn(batch)
        self.num_updates += 1
        return metrics

    def _encoded(self, batch: Batch) -> Batch:
        """Return transitions with codes in place of states; the critics' loss trains them."""
        observations = self.codes.encode_states(batch.observations)
        with torch.no_grad():
            following = self.codes.encode_states(batch.next_observations)
        return Batch(observations, batch.actions, batch.rewards, following, batch.terminated)

    def update_critic(self, batch: Batch) -> dict[str, Tensor]:
        """Take one step of both critics towards the soft Bellman target.

        The batch holds what the networks see of states: standardised if they are, and encoded.
        """
        with torch.no_grad():
            next_actions, log_prob = self._sample(batch.next_observations)
            next_q = self._evaluate(self.target_critic, batch.next_observations, next_actions)
            next_value = soft_value(next_q, log_prob, self.temperature)
            target = soft_target(batch.rewards, batch.terminated, next_value, self.config.discount)
        q = self._evaluate(self.critic, batch.observations, batch.actions)
        loss = critic_loss(q, target)
        descend(self.critic_optimizer, loss)
        return {"critic_loss": loss.detach(), "target_q": target.mean(-1)}

    def update_actor(self, observations: Float[Tensor, "*seed batch obs"]) -> dict[str, Tensor]:
        """Take one step of the actor and one of the temperature, from the same actions.

        Observations are those that the networks see, as in `update_critic`.
        """
        temperature = self.temperature
        actions, log_prob = self._sample(observations)
        with frozen(self.critic):
            q = self._evaluate(self.critic, observations, actions)
        by_actor = actor_loss(q, log_prob, temperature)
        by_temperature = temperature_loss(temperature, log_prob, self.target_entropy)
        descend(self.policy_optimizer, by_actor + by_temperature)
        return {
            "actor_loss": by_actor.detach(),
            "temperature_loss": by_temperature.detach(),
            "temperature": temperature.detach(),
            "entropy": -log_prob.detach().mean(-1),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return parameters, optimiser states and the number of updates."""
        return super().state_dict() | {"log_temperature": self.log_temperature.detach()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.log_temperature.data.copy_(state["log_temperature"])

    def _parts(self) -> Parts:
        moments = self.observation_moments if self.config.normalize_observations else None
        return {
            "actor": self.actor,
            "critic": self.critic,
            "target_critic": self.target_critic,
            "policy_optimizer": self.policy_optimizer,
            "critic_optimizer": self.critic_optimizer,
            "observation_moments": moments,
            **self.codes.parts(),
        }

    def _inputs(self, observations: Tensor) -> Tensor:
        """Return what the networks see of observations."""
        return self.codes.encode_states(self._standardized(observations))

    def _standardized(self, observations: Tensor) -> Tensor:
        if not self.config.normalize_observations:
            return observations
        standardized = self.observation_moments.standardize(observations)
        return standardized.clamp(-LARGEST_INPUT, LARGEST_INPUT)

    def _sample(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions drawn from the policy and their log density, both differentiable."""
        mean, log_std = self.actor(inputs)
        return squash(mean, log_std, standard_normal(mean, self.generator))

    def _evaluate(
        self,
        critic: EnsembleMLP,
        observations: Float[Tensor, "*seed batch seen"],
        actions: Float[Tensor, "*seed batch act"],
    ) -> Float[Tensor, "*seed critic batch"]:
        """Return each critic's Q(s, a)."""
        codes = self.codes.encode_actions(actions)
        q: Tensor = critic(torch.cat((observations, codes), -1).unsqueeze(-3))
        return q.squeeze(-1)
