"""Decision Transformer (Chen et al. 2021, arXiv 2106.01345) on the rewards of a dataset.

On rewards that were learned from preferences it is the Pb-DT of DTR's paper (Tu et al. 2025).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pbrl.agents.dtr_losses import masked_error, return_targets
from pbrl.agents.learning_rates import RateSchedule
from pbrl.agents.return_actor import Choice, ReturnActor
from pbrl.agents.sequence_policy import SequencePolicy, SequencePolicyConfig
from pbrl.agents.state import AgentOfParts, Parts
from pbrl.checks import check_fields
from pbrl.pairs import OfflineBatch, OfflineBatchSizes
from pbrl.replay import ReplayBuffer
from pbrl.transformer import TransformerConfig
from pbrl.windows import WindowBatch, WindowSizes, piece_rows

SCALED_RETURN = 10.0  # the largest, where the scale follows the dataset


@dataclass(frozen=True, kw_only=True)
class DTConfig:
    """Network and rates; the defaults are those of DTR's paper for its Pb-DT and its own policy.

    Decision Transformer's own, on locomotion: width 128, 3 layers, 1 head, batches of 64, AdamW at
    1e-4 after a warm-up of 10,000 updates, gradients clipped to 0.25, returns divided by 1,000.

    Attributes:
        policy: the transformer.
        batch_size: windows per update.
        rate: of the optimiser.
        optimizer: "adam" adds the decay to the gradient, "adamw" takes it off the parameters.
        weight_decay: 0 or above.
        gradient_clip: largest norm of the gradient, above 0.
        return_scale: returns are divided by it before the policy sees them, above 0. None takes a
            tenth of the largest absolute return of the dataset.
        target_factor: what is asked for when acting, as a multiple of the best return; see
            `pbrl.agents.dtr_losses.return_targets`.
        observation_weight: weight of the error of the next observation, predicted from each action;
            1 in DTR's equations and 0 in its released command.
        cached: keep keys and values when acting; see `ActingHistory`.
        episode_steps: see `WindowSizes`; 1,000 is what the released code of DTR does. The best
            return and the steps it is spent over are then those of the pieces.
    """

    policy: SequencePolicyConfig = field(
        default_factory=lambda: SequencePolicyConfig(
            transformer=TransformerConfig(width=256, num_layers=4, num_heads=4)
        )
    )
    batch_size: int = 256
    rate: RateSchedule = field(
        default_factory=lambda: RateSchedule(peak=3e-4, decay=50_000, every=1_000)
    )
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 1e-4
    gradient_clip: float = 9.0
    return_scale: float | None = 10.0
    target_factor: float = 1.0
    observation_weight: float = 0.0
    cached: bool = True
    episode_steps: int | None = None

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("weight_decay", "0 or above", self.weight_decay >= 0),
            ("gradient_clip", "above 0", self.gradient_clip > 0),
            ("return_scale", "above 0", self.return_scale is None or self.return_scale > 0),
            (
                "observation_weight",
                "0 or above, and above 0 with policy.predict_observations alone",
                (self.observation_weight > 0) == self.policy.predict_observations
                and self.observation_weight >= 0,
            ),
        )
        self.batch_sizes()

    def batch_sizes(self) -> OfflineBatchSizes:
        """Return what one update draws."""
        windows = WindowSizes(
            number=self.batch_size,
            steps=self.policy.context,
            episode_steps=self.episode_steps,
            num_timesteps=self.policy.num_timesteps,
        )
        return OfflineBatchSizes(windows=windows)


class DecisionTransformer(AgentOfParts[DTConfig]):
    """A policy that imitates what led to a given return, and then asks for a high one.

    Args:
        config: network and rates.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        device: where networks and batches live.
        generator: draws initial parameters and dropout; on `device`. Whoever owns it saves its
            state.

    Attributes:
        max_return: best return of the dataset; NaN until `prepare`.
        return_scale: what returns are divided by; NaN until it is known.
        episode_length: steps of its longest episode, over which a return that is asked for is
            spent. DTR's program spends it over 1,000, which is the same on D4RL's locomotion.

    Raises:
        ValueError: if the generator lives elsewhere than `device`.
    """

    learns_from_rewards = True
    is_recordable = True

    def __init__(
        self,
        config: DTConfig,
        observation_dim: int,
        action_dim: int,
        *,
        device: torch.device | str = "cpu",
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, device=device, generator=generator)
        self.max_return, self.episode_length = float("nan"), 0
        self.return_scale = config.return_scale or float("nan")
        dims = (1, observation_dim, action_dim)
        self.policy = SequencePolicy(config.policy, *dims, generator=generator)
        kind = torch.optim.Adam if config.optimizer == "adam" else torch.optim.AdamW
        self.optimizer = kind(
            self.policy.parameters(),
            lr=config.rate.peak,
            weight_decay=config.weight_decay,
            fused=True,
        )

    @property
    def batch_sizes(self) -> OfflineBatchSizes:
        """What the next update draws."""
        return self.config.batch_sizes()

    def prepare(self, replay: ReplayBuffer) -> None:
        """Find the best return, which is asked for when acting, and the steps it is spent over.

        With `episode_steps` they are those of the pieces, which the policy learns from as well.

        Raises:
            ValueError: if no reward differs from another, and no return either.
        """
        rewards = replay.all_rewards()
        self.episode_length, returns = self._returns(replay, rewards.double())
        if not bool((rewards != rewards[0]).any() | (returns != returns[0]).any()):
            raise ValueError(
                f"the rewards of all {len(rewards)} steps are {float(rewards[0]):g} in the scale "
                f"that is learned from, and the returns of all {len(returns)} episodes "
                f"{float(returns[0]):g}: returns that tell no episode from another cannot be "
                "conditioned on; learn a reward from labels"
            )
        self.max_return = float(returns.max())
        if self.config.return_scale is None:
            self.return_scale = float(returns.abs().max()) / SCALED_RETURN

    def _returns(
        self, replay: ReplayBuffer, rewards: Float[Tensor, " step"]
    ) -> tuple[int, Float[Tensor, " episode"]]:
        """Return the steps of the longest episode, or of a piece, and the return of each."""
        episodes = replay.completed_episodes()
        lengths = replay.episode_lengths(episodes)
        if self.config.episode_steps is not None:
            terminated = replay.have_terminated(episodes)
            rows = piece_rows(lengths, terminated, self.config.episode_steps)
            return self.config.episode_steps, rewards[rows].sum(1)
        ids, place = replay.all_episodes().unique(return_inverse=True)
        returns = torch.zeros(len(ids), dtype=rewards.dtype, device=rewards.device)
        return int(lengths.max()), returns.index_add_(0, place, rewards)

    def act(
        self, observations: Float[Tensor, "batch obs"], deterministic: bool
    ) -> Float[Tensor, "batch act"]:
        """Return actions in [-1, 1], as in the first step of an episode."""
        return self.actor(deterministic=deterministic)(observations)

    def actor(self, *, deterministic: bool = True) -> ReturnActor:  # noqa: ARG002  has no noise
        """Return a policy with a memory, which asks for the best return times the factor."""
        return self.asking((self.config.target_factor,))

    def asking(
        self,
        factors: Sequence[float],
        *,
        choose: Choice | None = None,
        exact: int | None = None,
        generator: torch.Generator | None = None,
    ) -> ReturnActor:
        """Return a policy that asks for multiples of the best return; see `ReturnActor`."""
        asked = return_targets(self.max_return, factors)
        return ReturnActor(
            self.policy,
            torch.tensor(asked, device=self.device) / self.return_scale,
            self.episode_length or self.config.policy.num_timesteps,
            cached=self.config.cached and exact is None,
            choose=choose,
            exact=exact,
            generator=generator,
        )

    def update(self, batch: OfflineBatch) -> dict[str, Tensor]:
        """Imitate the windows' actions; return metrics.

        Raises:
            ValueError: if the batch holds no windows.
        """
        if batch.windows is None:
            raise ValueError(f"the batch must hold what {self.batch_sizes} asks for")
        if not self.is_recorded:
            self.prepare_update()
        self.policy.train()
        _, loss, metrics = self.imitate(batch.windows)
        metrics["gradient_norm"] = self.step(loss)
        return metrics

    def prepare_update(self) -> None:
        """Set the rate."""
        self._set_rate(self.optimizer, self.config.rate.at(self.num_updates))

    def imitate(
        self, windows: WindowBatch
    ) -> tuple[Float[Tensor, "window time act"], Tensor, dict[str, Tensor]]:
        """Return the policy's actions, the loss of imitation and metrics."""
        parts = self.inputs(windows)
        weight = self.config.observation_weight
        if weight == 0:
            actions = self.policy(*parts)
            loss = masked_error(actions, windows.actions, windows.mask)
            return actions, loss, {"imitation_loss": loss.detach()}
        actions, observed = self.policy.predict(*parts)
        loss = masked_error(actions, windows.actions, windows.mask)
        both = windows.mask[:, :-1] & windows.mask[:, 1:]
        further = masked_error(observed[:, :-1], windows.observations[:, 1:], both)
        metrics = {"imitation_loss": loss.detach(), "observation_loss": further.detach()}
        return actions, loss + weight * further, metrics

    def inputs(
        self, windows: WindowBatch
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Bool[Tensor, "window time"]]:
        """Return what the policy reads of windows."""
        conditions = windows.returns_to_go[..., None] / self.return_scale
        return conditions, windows.observations, windows.actions, windows.timesteps, windows.mask

    def step(self, loss: Tensor) -> Tensor:
        """Take one step of the optimiser and return the norm of the gradient before clipping."""
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.policy.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.num_updates += 1
        return norm.detach()

    def state_dict(self) -> dict[str, Any]:
        """Return parameters, optimiser, what was found in the dataset and the number of updates."""
        found = {
            "max_return": self.max_return,
            "return_scale": self.return_scale,
            "episode_length": self.episode_length,
        }
        return super().state_dict() | found

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        super().load_state_dict(state)
        self.max_return = float(state["max_return"])
        self.return_scale = float(state["return_scale"])
        self.episode_length = int(state["episode_length"])

    def _parts(self) -> Parts:
        return {"policy": self.policy, "optimizer": self.optimizer}
