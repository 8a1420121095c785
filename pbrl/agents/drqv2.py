"""DrQ-v2 (Yarats et al. 2022, arXiv 2107.09645) on images, by itself or with TACO's codes."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Real
from torch import Tensor, nn

from pbrl.agents.drqv2_losses import clip_to_cube, policy_loss, standard_deviation
from pbrl.agents.sac_losses import critic_loss, soft_target
from pbrl.agents.state import AgentOfParts, Parts
from pbrl.batches import Batch, BatchSteps, MultiStepBatch, multistep
from pbrl.checks import check_fields
from pbrl.encoders import Encoder, EncoderConfig, TrunkedCritics, make_trunk, shift_each
from pbrl.networks import EnsembleMLP, frozen, mlp, move_towards
from pbrl.taco import Taco, TacoConfig, token_size


def _stacked_images() -> EncoderConfig:
    return EncoderConfig(image_shape=(9, 84, 84))


@dataclass(frozen=True, kw_only=True)
class DrQv2Config:
    """Networks and rates; the defaults are those of DrQ-v2's code for its medium tasks.

    Attributes:
        encoder: of the images: three frames of three colours, 84 x 84, shifted by up to 4 pixels.
        hidden_size: of the two hidden layers of actor and critics.
        learning_rate: of Adam, for every network.
        num_return_steps: n, rewards that are summed in front of the critic's next state. Their code
            has 1 for the walker, otherwise 3.
        discount: gamma, in [0, 1].
        target_rate: tau, step of the target critics towards the critics, in (0, 1].
        noise: standard deviation of the actions' noise at the start and at the end.
        noise_updates: over which it falls linearly. Their 500,000 steps are as many updates as half
            of them, since they update every second step (50,000 updates on easy tasks, 1,000,000 on
            hard ones); here the count begins with the first update, there 2,000 steps earlier.
        noise_limit: of the noise in updates, either way.
        taco: also learn TACO's codes (Zheng et al. 2023), through which critics see actions; None
            does not.
        cloning: weight of Q beside behaviour cloning in the actor's loss, alpha of TD3+BC (Fujimoto
            and Gu 2021), for learning from a dataset; None is DrQ-v2's own loss.
    """

    encoder: EncoderConfig = field(default_factory=_stacked_images)
    hidden_size: int = 1024
    learning_rate: float = 1e-4
    num_return_steps: int = 3
    discount: float = 0.99
    target_rate: float = 0.01
    noise: tuple[float, float] = (1.0, 0.1)
    noise_updates: int = 250_000
    noise_limit: float = 0.3
    taco: TacoConfig | None = None
    cloning: float | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("hidden_size", "at least 1", self.hidden_size >= 1),
            ("learning_rate", "above 0", self.learning_rate > 0),
            ("num_return_steps", "at least 1", self.num_return_steps >= 1),
            ("discount", "in [0, 1]", 0 <= self.discount <= 1),
            ("target_rate", "in (0, 1]", 0 < self.target_rate <= 1),
            ("noise", "0 or above", min(self.noise) >= 0),
            ("noise_updates", "at least 1", self.noise_updates >= 1),
            ("noise_limit", "above 0", self.noise_limit > 0),
            ("cloning", "None or above 0", self.cloning is None or self.cloning > 0),
        )


class DrQv2(AgentOfParts[DrQv2Config]):
    """A deterministic actor with noise, and two critics in one batched network, behind one encoder.

    The critics' gradient trains the encoder, the actor's does not. With TACO, encoder and codes of
    actions are stepped by two optimisers with moments of their own, as in its code; its objective
    comes last in an update. The target critics see through the present encoder and codes.

    Args:
        config: networks and rates.
        observation_dim: size of a flat stack of images.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters, shifts and noise; on `device`. Whoever owns it saves
            its state.

    Raises:
        ValueError: if the generator lives elsewhere than `device`, or observations are not the
            images of the configuration.
    """

    is_recordable = True

    def __init__(
        self,
        config: DrQv2Config,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, device=device, generator=generator)
        self.action_dim = action_dim
        self._noise: float | Tensor = config.noise[0]  # where recorded updates read it
        self.encoder = Encoder(config.encoder, observation_dim, generator)
        self.taco: Taco | None = None
        width = self.encoder.num_outputs
        if config.taco is not None:
            self.taco = Taco(config.taco, self.encoder, width, action_dim, generator=generator)
        features, hidden = config.encoder.num_features, config.hidden_size
        policy = mlp(
            (features, hidden, hidden, action_dim),
            output_activation="tanh",
            initialization="orthogonal",
            generator=generator,
        )
        self.actor = nn.Sequential(make_trunk(width, features, generator), policy)
        self.actor_optimizer = self._adam(self.actor)
        self.taco_optimizer = None if self.taco is None else self._adam(self.taco)
        self.reset_critic()

    def reset_critic(self) -> None:
        """Draw new critics, copy them to the targets and forget their optimiser.

        Encoder, codes and actor stay.
        """
        config = self.config
        features, hidden = config.encoder.num_features, config.hidden_size
        width = features + (self.action_dim if self.taco is None else token_size(self.action_dim))

        def critics() -> TrunkedCritics:
            networks = EnsembleMLP(
                2,
                (width, hidden, hidden, 1),
                initialization="orthogonal",
                generator=self.generator,
            )
            trunk = make_trunk(self.encoder.num_outputs, features, self.generator)
            return TrunkedCritics(trunk, networks, self.encoder.num_outputs)

        self.critic, self.target_critic = critics(), critics()
        self.target_critic.load_state_dict(self.critic.state_dict())
        self.target_critic.requires_grad_(requires_grad=False)
        seen = [self.encoder, *([] if self.taco is None else [self.taco.token])]
        self.critic_optimizer = self._adam(self.critic, *seen)

    @property
    def batch_steps(self) -> BatchSteps:
        """How far the transitions of an update reach."""
        config = self.config
        num_rewards = config.num_return_steps
        num_actions = num_rewards if config.taco is None else config.taco.num_actions
        return BatchSteps(
            num_rewards=num_rewards, num_actions=num_actions, discount=config.discount
        )

    @torch.no_grad()
    def act(
        self, observations: Real[Tensor, "batch obs"], deterministic: bool
    ) -> Float[Tensor, "batch act"]:
        """Return actions in [-1, 1]: the actor's, or with the noise of the present update."""
        means: Tensor = self.actor(self.encoder(observations))
        return means if deterministic else self._noisy(means, self._deviation(), limit=None)

    def prepare_update(self) -> None:
        """Set the noise of actions."""
        self._noise = self._kept(self._noise, self._deviation())

    def _deviation(self) -> float:
        """Return the standard deviation of the noise in the present update."""
        config = self.config
        return standard_deviation(self.num_updates, config.noise, config.noise_updates)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Update encoder and critics, the actor, the targets, then TACO's codes; return metrics.

        Args:
            batch: reaching as far as `batch_steps` says.

        Raises:
            TypeError: if there is more than one step to it and the batch says nothing of them.
        """
        told = multistep(batch, self.batch_steps)
        features = self.encoder(self._shifted(batch.observations))
        with torch.no_grad():
            next_features = self.encoder(self._shifted(batch.next_observations))
        seen = Batch(features, batch.actions, batch.rewards, next_features, batch.terminated)
        metrics = self.update_critic(seen) | self.update_actor(features.detach(), batch.actions)
        move_towards(self.target_critic, self.critic, self.config.target_rate)
        if self.taco is not None:
            metrics |= self.update_taco(told)
        self.num_updates += 1
        return metrics

    def update_critic(self, batch: Batch) -> dict[str, Tensor]:
        """Take one step of critics, encoder and codes of actions, from encoded transitions."""
        config = self.config
        with torch.no_grad():
            next_actions = self._drawn(self.actor(batch.next_observations))
            next_q = self._evaluate(self.target_critic, batch.next_observations, next_actions)
            discount = config.discount**config.num_return_steps
            target = soft_target(batch.rewards, batch.terminated, next_q.amin(0), discount)
        q = self._evaluate(self.critic, batch.observations, batch.actions)
        loss = critic_loss(q, target)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()
        return {"critic_loss": loss.detach(), "target_q": target.mean()}

    def update_actor(
        self, features: Float[Tensor, "batch feature"], actions: Float[Tensor, "batch act"]
    ) -> dict[str, Tensor]:
        """Take one step of the actor; `actions` are those of the batch, for cloning."""
        means = self.actor(features)
        drawn = self._drawn(means)
        with frozen(self.critic):
            q = self._evaluate(self.critic, features, drawn).amin(0)
        loss = policy_loss(q, means, actions, self.config.cloning)
        self.actor_optimizer.zero_grad()
        loss.backward()
        self.actor_optimizer.step()
        return {"actor_loss": loss.detach(), "q": q.detach().mean()}

    def update_taco(self, batch: MultiStepBatch) -> dict[str, Tensor]:
        """Take one step on TACO's objective, each of its three images shifted by itself.

        As in its code, the reward to foretell is that of the n steps, whatever K is.
        """
        assert self.taco is not None
        assert self.taco_optimizer is not None
        losses = self.taco.losses(
            self._shifted(batch.observations),
            batch.action_sequences,
            self._shifted(batch.later_observations),
            batch.rewards,
            self._shifted(batch.observations) if self.taco.config.curl else None,
        )
        self.taco_optimizer.zero_grad()
        losses.total(batch.is_whole).backward()
        self.taco_optimizer.step()
        return {
            f"taco_{name}_loss": part.detach().mean() for name, part in losses._asdict().items()
        }

    def _evaluate(
        self, critic: TrunkedCritics, features: Tensor, actions: Tensor
    ) -> Float[Tensor, "critic batch"]:
        """Return each critic's Q of encoded states, both in one pass."""
        codes = actions if self.taco is None else self.taco.encode_actions(actions)
        q: Tensor = critic.critics(torch.cat([critic.trunk(features), codes], -1)[None])
        return q.squeeze(-1)

    def _drawn(self, means: Tensor) -> Float[Tensor, "batch act"]:
        """Return actions with the noise of an update."""
        deviation = self._noise if self.is_recorded else self._deviation()
        return self._noisy(means, deviation, self.config.noise_limit)

    def _noisy(
        self, means: Tensor, deviation: float | Tensor, limit: float | None
    ) -> Float[Tensor, "batch act"]:
        noise = torch.empty_like(means).normal_(generator=self.generator) * deviation
        return clip_to_cube(means + (noise if limit is None else noise.clamp(-limit, limit)))

    def _shifted(self, observations: Tensor) -> Tensor:
        return shift_each(observations, self.config.encoder, self.generator)

    def _adam(self, *modules: nn.Module) -> torch.optim.Adam:
        parameters = [part for module in modules for part in module.parameters()]
        return torch.optim.Adam(parameters, lr=self.config.learning_rate, fused=True)

    def _parts(self) -> Parts:
        return {
            "encoder": self.encoder,
            "taco": self.taco,
            "actor": self.actor,
            "critic": self.critic,
            "target_critic": self.target_critic,
            "actor_optimizer": self.actor_optimizer,
            "critic_optimizer": self.critic_optimizer,
            "taco_optimizer": self.taco_optimizer,
        }
