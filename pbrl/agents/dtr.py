"""DTR: In-Dataset Trajectory Return Regularization (Tu et al. 2025, arXiv 2412.09104).

A Decision Transformer on learned rewards whose actions also raise the value of critics, by a weight
that grows. With a weight that stays it is the Pb-QT of the paper, without one Pb-DT.
"""

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pbrl.agents.dt import DecisionTransformer
from pbrl.agents.dtr_config import DTRConfig
from pbrl.agents.dtr_losses import (
    coefficient,
    critic_error,
    normalized_value,
    window_targets,
)
from pbrl.agents.iql_networks import evaluate_critics
from pbrl.agents.return_actor import ReturnActor
from pbrl.agents.sequence_policy import SequencePolicy
from pbrl.agents.state import AgentOfParts, Parts
from pbrl.networks import EnsembleMLP, frozen, move_towards
from pbrl.pairs import OfflineBatch, OfflineBatchSizes
from pbrl.replay import ReplayBuffer
from pbrl.windows import WindowBatch

NUM_CRITICS = 2
RELEASED_TRIES = 10  # candidates per return target in the released code


class DTR(AgentOfParts[DTRConfig]):
    """A return-conditioned policy, regularised by critics and chosen by them.

    Args:
        config: policy, critics and their weights.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters, dropout and noise; on `device`. Whoever owns it saves
            its state.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    learns_from_rewards = True
    is_recordable = True

    def __init__(
        self,
        config: DTRConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        dims = (observation_dim, action_dim)
        # First, for it counts the updates.
        self.imitator = DecisionTransformer(
            config.imitation, *dims, device=device, generator=generator
        )
        super().__init__(config, device=device, generator=generator)
        over = config.coefficient_updates
        self._eta: float | Tensor = coefficient(config.max_coefficient, 0, over)
        self.slow_policy = SequencePolicy(config.imitation.policy, 1, *dims, generator=generator)
        self.slow_policy.load_state_dict(self.policy.state_dict())
        self.critic, self.target_critic = (
            EnsembleMLP(
                NUM_CRITICS,
                (observation_dim + action_dim, *config.critic_hidden_sizes, 1),
                activation="mish",
                generator=generator,
            )
            for _ in range(2)
        )
        self.target_critic.load_state_dict(self.critic.state_dict())
        for follower in (self.slow_policy, self.target_critic):
            follower.requires_grad_(requires_grad=False)
        self.critic_optimizer = torch.optim.Adam(
            self.critic.parameters(), lr=config.critic_rate.peak, fused=True
        )

    @property
    def policy(self) -> SequencePolicy:
        """The policy that learns."""
        return self.imitator.policy

    @property
    def num_updates(self) -> int:
        """Updates so far."""
        return self.imitator.num_updates

    @num_updates.setter
    def num_updates(self, number: int) -> None:
        self.imitator.num_updates = number

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws."""
        return self.imitator.batch_sizes

    def prepare(self, replay: ReplayBuffer) -> None:
        """Find the best return, multiples of which are asked for when acting.

        Raises:
            ValueError: see `DecisionTransformer.prepare`.
        """
        self.imitator.prepare(replay)

    def act(
        self, observations: Float[Tensor, "batch obs"], deterministic: bool
    ) -> Float[Tensor, "batch act"]:
        """Return actions in [-1, 1], as in the first step of an episode."""
        return self.actor(deterministic=deterministic)(observations)

    def actor(self, *, deterministic: bool = True) -> ReturnActor:  # noqa: ARG002  by `choice`
        """Return a policy with a memory, which tries several returns at every step.

        What it draws comes from a stream of its own, the same for every actor, so that acting
        changes nothing of what is learned, and two evaluations differ by what was learned alone.
        """
        factors = self.config.target_factors
        if self.config.choice == "argmax":
            return self.imitator.asking(factors, choose=self._choose)
        tries = [factor for factor in factors for _ in range(RELEASED_TRIES)]
        noise = torch.Generator(self.generator.device)
        noise.manual_seed(self.generator.initial_seed())
        choose = partial(self._choose, generator=noise)
        return self.imitator.asking(tries, choose=choose, exact=len(factors), generator=noise)

    def update(self, batch: OfflineBatch) -> dict[str, Tensor]:
        """Update critics, policy and their slow copies from windows; return metrics.

        Raises:
            ValueError: if the batch holds no windows.
        """
        if batch.windows is None:
            raise ValueError(f"the batch must hold what {self.batch_sizes} asks for")
        config, moves_slow_copy = self.config, self.update_kind
        if not self.is_recorded:
            self.prepare_update()
        metrics = self._update_critic(batch.windows)
        metrics |= self._update_policy(batch.windows)
        if moves_slow_copy:
            move_towards(self.slow_policy, self.policy, 1 - config.slow_decay)
        move_towards(self.target_critic, self.critic, config.target_rate)
        return metrics

    @property
    def update_kind(self) -> bool:
        """Whether the slow copy takes a step after the next update."""
        done = self.num_updates
        return done > self.config.slow_start and done % self.config.slow_every == 0

    def prepare_update(self) -> None:
        """Set the rates, and the weight of the critics' value."""
        config, done = self.config, self.num_updates
        self.imitator.is_recorded = self.is_recorded
        self.imitator.prepare_update()
        self._set_rate(self.critic_optimizer, config.critic_rate.at(done))
        eta = coefficient(config.max_coefficient, done, config.coefficient_updates)
        self._eta = self._kept(self._eta, eta)

    def _update_critic(self, windows: WindowBatch) -> dict[str, Tensor]:
        config = self.config
        with torch.no_grad():
            self.slow_policy.train(config.slow_dropout)
            parts = self.imitator.inputs(windows)
            last_action = self.slow_policy(*parts, last_only=True)[:, 0]
            following = self._lowest_target(windows.observations[:, -1], last_action)
            target = window_targets(
                windows.rewards,
                following,
                windows.terminated,
                config.discount,
                discard_last=config.discard_last,
            )
        q = self._values(windows.observations, windows.actions)
        loss = critic_error(q, target, windows.mask)
        self.critic_optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.critic.parameters(), config.imitation.gradient_clip)
        self.critic_optimizer.step()
        mean = (q.detach().mean(0) * windows.mask).sum() / windows.mask.sum()
        return {"critic_loss": loss.detach(), "q": mean}

    def _update_policy(self, windows: WindowBatch) -> dict[str, Tensor]:
        config = self.config
        self.policy.train()
        actions, imitation, metrics = self.imitator.imitate(windows)
        which = torch.randint(
            NUM_CRITICS, (), generator=self.generator, device=self.generator.device
        )
        with frozen(self.critic):
            q = self._values(windows.observations, actions)
        value = normalized_value(q, windows.mask, which)
        norm = self.imitator.step(config.imitation_weight * imitation - self._eta * value)
        return metrics | {"normalized_value": value.detach(), "gradient_norm": norm}

    def _values(
        self, observations: Float[Tensor, "window time obs"], actions: Tensor
    ) -> Float[Tensor, "critic window time"]:
        flat = evaluate_critics(self.critic, observations.flatten(0, 1), actions.flatten(0, 1))
        return flat.unflatten(1, observations.shape[:2])  # type: ignore[no-any-return]

    @torch.no_grad()
    def _lowest_target(
        self, observations: Float[Tensor, "batch obs"], actions: Float[Tensor, "batch act"]
    ) -> Float[Tensor, " batch"]:
        return evaluate_critics(self.target_critic, observations, actions).amin(0)

    @torch.no_grad()
    def _choose(
        self,
        observations: Float[Tensor, "env obs"],
        candidates: Float[Tensor, "env candidate act"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "env act"]:
        """Return one of several actions for each environment, by the lower target critic."""
        number = candidates.shape[1]
        repeated = observations.repeat_interleave(number, 0)
        q = self._lowest_target(repeated, candidates.flatten(0, 1)).view(-1, number)
        if self.config.choice == "argmax":
            chosen = q.argmax(1)
        else:
            chosen = torch.multinomial(q.softmax(1), 1, generator=generator)[:, 0]
        return candidates[torch.arange(len(candidates), device=chosen.device), chosen]

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimisers, in a fixed order."""
        return [*self.imitator.optimizers(), *super().optimizers()]

    def state_dict(self) -> dict[str, Any]:
        """Return parameters, optimisers, what was found in the dataset and number of updates."""
        return super().state_dict() | {"imitator": self.imitator.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.imitator.load_state_dict(state["imitator"])

    def _parts(self) -> Parts:
        return {
            "slow_policy": self.slow_policy,
            "critic": self.critic,
            "target_critic": self.target_critic,
            "critic_optimizer": self.critic_optimizer,
        }
