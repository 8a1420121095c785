"""OPPO: Offline Preference-guided Policy Optimization (Kang et al. 2023, arXiv 2305.16217).

A policy is told what to do by a code of behaviour. An encoder makes the codes of segments, so that
the policy can repeat their actions; preferences pull one free vector, the optimal context, to where
the codes of preferred segments are, and the codes along. There is neither a reward nor a value.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pbrl.agents.context_actor import ContextActor
from pbrl.agents.dtr_losses import masked_error
from pbrl.agents.oppo_config import OPPOConfig
from pbrl.agents.oppo_encoder import HindsightEncoder, RecentWindows
from pbrl.agents.oppo_losses import (
    distances,
    nearest_mean,
    norm_loss,
    preference_loss,
    released_preference_loss,
)
from pbrl.agents.oppo_steps import Steps, steps_of_pairs, steps_of_segments, steps_of_windows
from pbrl.agents.policies import evaluating
from pbrl.agents.sequence_policy import SequencePolicy
from pbrl.agents.state import AgentOfParts, Parts
from pbrl.feedback import TIE
from pbrl.networks import frozen
from pbrl.pairs import OfflineBatch, OfflineBatchSizes, PairBatch
from pbrl.segments import Segments


class OPPO(AgentOfParts[OPPOConfig]):
    """A policy that acts by a code of behaviour, and the code that people prefer.

    Args:
        config: networks, weights and schedule.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters, dropout and noise; on `device`. Whoever owns it saves
            its state.

    Attributes:
        context: the optimal one, z*.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    is_recordable = True

    def __init__(
        self,
        config: OPPOConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, device=device, generator=generator)
        dims = (observation_dim, action_dim)
        self.policy = SequencePolicy(config.policy, config.context_dim, *dims, generator=generator)
        self.encoder = HindsightEncoder(
            config.encoder,
            dims,
            config.context_dim,
            num_timesteps=config.policy.num_timesteps,
            pooling=config.pooling,
            generator=generator,
        )
        context = torch.empty(config.context_dim, device=self.device)
        context.normal_(std=config.initial_std, generator=generator)
        self.context = nn.Parameter(context)
        self.recent = RecentWindows(config.num_recent, config.policy.context, dims, self.device)
        self.policy_optimizer = self._optimizer(self.policy.parameters(), config.policy_rate.peak)
        self.encoder_optimizer = self._optimizer(
            self.encoder.parameters(), config.encoder_rate.peak
        )
        self.context_optimizer = self._optimizer([self.context], config.context_rate)

    def _optimizer(self, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.AdamW:
        return torch.optim.AdamW(
            parameters, lr=rate, weight_decay=self.config.weight_decay, fused=True
        )

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws."""
        return self.config.batch_sizes(self.num_updates)

    def act(
        self, observations: Float[Tensor, "batch obs"], deterministic: bool
    ) -> Float[Tensor, "batch act"]:
        """Return actions in [-1, 1], as in the first step of an episode."""
        return self.actor(deterministic=deterministic)(observations)

    def actor(self, *, deterministic: bool = True) -> ContextActor:  # noqa: ARG002  has no noise
        """Return a policy with a memory, which acts by the context as it is now."""
        is_last = self.config.acting == "last"
        return ContextActor(
            self.policy,
            self.acting_context(),
            cached=self.config.cached and not is_last,
            newest_only=is_last,
        )

    @torch.no_grad()
    def acting_context(self) -> Float[Tensor, " context"]:
        """Return the context that is acted by; see `decoding`."""
        match self.config.decoding:
            case "unit":
                context = self.context.detach()
                unit: Tensor = context / torch.linalg.vector_norm(context)
                return unit
            case "nearest" if int(self.recent.count) > 0:
                with evaluating(self.encoder):
                    codes = self.recent.codes(self.encoder)
                return nearest_mean(self.context, codes, self.config.num_nearest)
            case _:
                return self.context.detach().clone()

    @torch.no_grad()
    def segment_scores(self, segments: Segments) -> Float[Tensor, "*shape"]:
        """Return minus the distance of each segment's code from the optimal context.

        The segments are taken to stand at the beginning of their episodes.
        """
        with evaluating(self.encoder):
            codes = self.encoder(*steps_of_segments(segments))
        return -distances(self.context, codes).view(segments.mask.shape[:-1])

    def update(self, batch: OfflineBatch) -> dict[str, Tensor]:
        """Update policy, encoder and optimal context, in this order; return metrics.

        Raises:
            ValueError: if the batch lacks what `batch_sizes` asks for.
        """
        is_asked = self.update_kind
        if batch.pairs is None or (is_asked and batch.windows is None):
            raise ValueError(f"the batch must hold what {self.batch_sizes} asks for")
        self.policy.train()
        self.encoder.train()
        if not self.is_recorded:
            self.prepare_update()
        windows = steps_of_windows(batch.windows) if batch.windows and is_asked else None
        pairs = steps_of_pairs(batch.pairs)
        if self.config.schedule == "joint":
            metrics = self._learn_jointly(windows, pairs, batch.pairs)
        else:
            metrics = {} if windows is None else self._learn_behaviour(windows)
            metrics |= self._learn_codes(pairs, batch.pairs)
        metrics |= self._move_context(pairs, batch.pairs)
        self._remember(pairs if self.config.windows == 0 else windows)
        self.num_updates += 1
        return metrics

    @property
    def update_kind(self) -> bool:
        """Whether the next update learns from windows."""
        return self.batch_sizes.windows is not None

    def prepare_update(self) -> None:
        """Set the rates of policy and encoder."""
        self._set_rate(self.policy_optimizer, self.config.policy_rate.at(self.num_updates))
        self._set_rate(self.encoder_optimizer, self.config.encoder_rate.at(self.num_updates))

    def _learn_jointly(
        self, windows: Steps | None, pairs: Steps, labelled: PairBatch
    ) -> dict[str, Tensor]:
        """Take one step of policy and encoder on all losses: the program for scripted labels."""
        config = self.config
        codes = self.encoder(*pairs)
        of_pairs = self._preference(self.context.detach(), codes, labelled)
        every_code, imitation = codes, codes.new_zeros(())
        if windows is not None:
            window_codes = self.encoder(*windows)
            imitation = imitation + self._reconstruct(windows, window_codes)
            every_code = torch.cat([codes, window_codes])
        if config.reconstruct_pairs:
            imitation = imitation + self._reconstruct(pairs, codes)
        of_norm = norm_loss(every_code, config.norm_term)
        loss = imitation + config.preference_weight * of_pairs + config.norm_weight * of_norm
        self._step(loss, with_policy=True)
        return {
            "imitation_loss": imitation.detach(),
            "encoder_preference_loss": of_pairs.detach(),
            "norm_loss": of_norm.detach(),
        }

    def _learn_behaviour(self, windows: Steps) -> dict[str, Tensor]:
        """Take a step of policy and encoder on windows, which the policy sees with noise."""
        imitation = self._reconstruct(windows, self.encoder(*windows), is_noisy=True)
        self._step(imitation, with_policy=True)
        return {"imitation_loss": imitation.detach()}

    def _learn_codes(self, pairs: Steps, labelled: PairBatch) -> dict[str, Tensor]:
        """Take a step of the encoder alone, on pairs, through a frozen policy."""
        config = self.config
        codes = self.encoder(*pairs)
        of_pairs = self._preference(self.context.detach(), codes, labelled)
        of_norm = norm_loss(codes, config.norm_term)
        with frozen(self.policy):
            imitation = self._reconstruct(pairs, codes)
            loss = config.pair_imitation_weight * imitation
            loss = loss + config.preference_weight * of_pairs + config.norm_weight * of_norm
            self._step(loss, with_policy=False)
        return {
            "pair_imitation_loss": imitation.detach(),
            "encoder_preference_loss": of_pairs.detach(),
            "norm_loss": of_norm.detach(),
        }

    def _move_context(self, pairs: Steps, labelled: PairBatch) -> dict[str, Tensor]:
        """Take a step of the optimal context towards the codes as they are now."""
        with torch.no_grad():
            codes = self.encoder(*pairs)
        loss = self._preference(self.context, codes, labelled)
        self.context_optimizer.zero_grad()
        loss.backward()
        self.context_optimizer.step()
        gap_0, gap_1 = distances(self.context.detach(), codes).view(-1, 2).unbind(1)
        is_right = torch.where(labelled.labels > TIE, gap_1 < gap_0, gap_0 < gap_1)
        decided = labelled.labels != TIE
        return {
            "preference_loss": loss.detach(),
            "accuracy": (is_right & decided).sum() / decided.sum().clamp(min=1),
            "context_norm": torch.linalg.vector_norm(self.context.detach()),
            "code_norm": torch.linalg.vector_norm(codes, dim=-1).mean(),
        }

    def _preference(
        self,
        context: Float[Tensor, " context"],
        codes: Float[Tensor, "segment context"],
        labelled: PairBatch,
    ) -> Float[Tensor, ""]:
        pairs = codes.view(-1, 2, codes.shape[-1])
        if self.config.released_ties:
            return released_preference_loss(context, pairs, labelled.labels, self.config.margin)
        return preference_loss(
            context, pairs, labelled.labels, labelled.weights, self.config.margin
        )

    def _reconstruct(
        self, steps: Steps, codes: Float[Tensor, "segment context"], *, is_noisy: bool = False
    ) -> Float[Tensor, ""]:
        """Return how far the policy, told the codes, is from the actions that were taken."""
        config = self.config
        observations = steps.observations
        if is_noisy and config.observation_noise > 0:
            noise = torch.empty_like(observations)
            noise.normal_(std=config.observation_noise, generator=self.generator)
            observations = observations + noise
        conditions = codes[:, None].expand(-1, observations.shape[1], -1)
        parts = (conditions, observations, steps.actions, steps.timesteps, steps.mask)
        if config.observation_weight == 0:
            return masked_error(self.policy(*parts), steps.actions, steps.mask)
        actions, observed = self.policy.predict(*parts)
        loss = masked_error(actions, steps.actions, steps.mask)
        further = masked_error(observed, steps.observations, steps.mask)
        return loss + config.observation_weight * further

    def _step(self, loss: Tensor, *, with_policy: bool) -> None:
        trained: list[tuple[nn.Module, torch.optim.Optimizer]] = [
            (self.encoder, self.encoder_optimizer)
        ]
        if with_policy:
            trained.append((self.policy, self.policy_optimizer))
        for _, optimizer in trained:
            optimizer.zero_grad()
        loss.backward()
        for network, optimizer in trained:
            nn.utils.clip_grad_norm_(network.parameters(), self.config.gradient_clip)
            optimizer.step()

    def _remember(self, steps: Steps | None) -> None:
        if steps is not None:
            short = Steps(*(part[:, : self.config.policy.context] for part in steps))
            self.recent.add(*short)

    def state_dict(self) -> dict[str, Any]:
        """Return parameters, optimisers, recent windows and the number of updates."""
        return super().state_dict() | {"context": self.context.detach()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.context.data.copy_(state["context"])

    def _parts(self) -> Parts:
        return {
            "policy": self.policy,
            "encoder": self.encoder,
            "recent": self.recent,
            "policy_optimizer": self.policy_optimizer,
            "encoder_optimizer": self.encoder_optimizer,
            "context_optimizer": self.context_optimizer,
        }
