"""A forward model of the environment whose attention can be read: a transformer over a segment."""

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pbrl.replay import ReplayBuffer
from pbrl.running_moments import RunningMoments
from pbrl.segments import Segments
from pbrl.sequences import TokenEmbedding, new_linear
from pbrl.transformer import Transformer, TransformerConfig

TOKENS_PER_STEP = 2  # state, action
STATISTICS_AT_ONCE = 65_536  # observations


@dataclass(frozen=True, kw_only=True)
class WorldModelConfig:
    """A transformer that foretells the next state, and how it learns.

    The networks are those of WiseRL, the offline re-implementation of Hindsight PRIOR, whose
    perceptrons have GELU where ours have ReLU. The paper's own sizes could not be checked.

    Attributes:
        transformer: its blocks, causal.
        max_steps: places in a segment that the model knows; longer segments are refused.
        learning_rate: of Adam, above 0.
        batch_size: windows per update, at least 1. WiseRL: 64 of 100 steps on MuJoCo, 16 of 25 on
            Meta-World.
        initial_updates: before the model is first read, at least 1.
        session_updates: whenever the replay buffer has grown, 0 or above. Ours: WiseRL's data does
            not grow.
    """

    transformer: TransformerConfig = field(
        default_factory=lambda: TransformerConfig(width=256, num_layers=3, num_heads=1)
    )
    max_steps: int = 100
    learning_rate: float = 3e-4
    batch_size: int = 64
    initial_updates: int = 10_000
    session_updates: int = 1_000

    def __post_init__(self) -> None:
        if self.transformer.kind != "causal":
            raise ValueError(f"the transformer must be causal, got {self.transformer.kind}")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        for name, least in (
            ("max_steps", 1), ("batch_size", 1), ("initial_updates", 1), ("session_updates", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


class WorldModel(nn.Module):
    """Foretells the next observation from states and actions so far, one token each.

    Observations are standardised by moments that are saved with the parameters, and what the
    network adds to a state is its change in that unit: one step changes little.

    Args:
        config: the network.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        generator: source of the initial parameters, which are made on its device, and of dropout.
    """

    def __init__(
        self,
        config: WorldModelConfig,
        observation_dim: int,
        action_dim: int,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config = config
        width = config.transformer.width
        dims = (observation_dim, action_dim)
        self.embedding = TokenEmbedding(dims, width, config.max_steps, generator=generator)
        self.transformer = Transformer(config.transformer, generator)
        self.head = new_linear(width, observation_dim, generator)
        self.moments = RunningMoments(observation_dim).to(generator.device)
        self.eval()

    def forward(
        self,
        observations: Float[Tensor, "batch time obs"],
        actions: Float[Tensor, "batch time act"],
        mask: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time obs"]:
        """Return the change of the standardised observation that each action will bring."""
        tokens, seen = self._tokens(observations, actions, mask)
        outputs = self.transformer(tokens, seen, slice(1, None, TOKENS_PER_STEP))
        changes: Tensor = self.head(outputs)
        return changes

    def last_attention(self, segments: Segments) -> Float[Tensor, "layer segment head token"]:
        """Return what the last action of each segment attends to: two weights per step.

        This is the view in hindsight, of the token from which the state after the segment is
        foretold. Padding has weight 0; the others sum to 1.

        Args:
            segments: `[segment, time, ...]`, of at least one step each.

        Raises:
            ValueError: if a segment is longer than `max_steps`.
            RuntimeError: in training mode.
        """
        self.check_length(segments.mask.shape[1])
        tokens, seen = self._tokens(segments.observations, segments.actions, segments.mask)
        last = TOKENS_PER_STEP * segments.mask.sum(1) - 1
        rows: Tensor = self.transformer.attention_rows(tokens, seen, last)
        return rows

    def check_length(self, steps: int) -> None:
        """Refuse segments that the table of places is too short for.

        Raises:
            ValueError: naming both lengths.
        """
        if steps > self.config.max_steps:
            raise ValueError(
                f"segments of {steps} steps are longer than the {self.config.max_steps} places "
                "that the world model knows: raise its max_steps"
            )

    def _tokens(
        self, observations: Tensor, actions: Tensor, mask: Tensor
    ) -> tuple[Float[Tensor, "batch token width"], Bool[Tensor, "batch token"]]:
        number, steps = mask.shape
        place = torch.arange(steps, device=mask.device).expand(number, -1)
        parts = (self.moments.standardize(observations), actions)
        return self.embedding(parts, place), mask.repeat_interleave(TOKENS_PER_STEP, 1)


def forward_loss(
    predicted: Float[Tensor, "batch time obs"],
    change: Float[Tensor, "batch time obs"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, ""]:
    """Return the mean absolute error over the steps there are and their features.

    WiseRL sums over the batch instead, which ties the learning rate to its size.
    """
    errors = (predicted - change).abs().mean(-1)
    return torch.where(mask, errors, 0.0).sum() / mask.sum().clamp(min=1)


class WorldModelLearner:
    """Trains a world model on windows of a replay buffer.

    Args:
        config: network and rates.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        generator: source of the initial parameters, of dropout and of the windows; on the device of
            the replay buffer. Its state is saved here, so it must be this learner's own.
    """

    def __init__(
        self,
        config: WorldModelConfig,
        observation_dim: int,
        action_dim: int,
        *,
        generator: torch.Generator,
    ) -> None:
        self.config = config
        self.model = WorldModel(config, observation_dim, action_dim, generator=generator)
        self.num_updates = 0
        self.steps_seen = 0  # of the replay buffer, ever added, when the updates due were counted
        self.num_due = 0
        self._generator = generator
        self._optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.learning_rate, fused=True
        )

    def count_due(self, replay: ReplayBuffer) -> int:
        """Return how many updates are due: those left over, and more if the buffer has grown."""
        if replay.num_steps_added > self.steps_seen:
            is_new = self.steps_seen == 0
            self.num_due += self.config.initial_updates if is_new else self.config.session_updates
            self.steps_seen = replay.num_steps_added
        return self.num_due

    def fit(
        self, replay: ReplayBuffer, horizon: int, max_updates: int | None = None
    ) -> dict[str, float]:
        """Take the updates that are due and return what they came to.

        Windows have one step more than the segments to be read, so that what the last action of a
        segment brings is known; where no complete episode is that long, as many as there are.

        Args:
            replay: where the windows lie; no label is needed.
            horizon: steps of the longest segment to be read.
            max_updates: leave those beyond for another call; the result is the same.

        Returns:
            world/loss, mean absolute error in standardised units, and world/updates so far; nothing
            if none is due.

        Raises:
            ValueError: if segments are longer than `max_steps`, or no episode has two steps.
        """
        self.model.check_length(horizon)
        due = self.count_due(replay)
        due = due if max_updates is None else min(due, max_updates)
        if due == 0:
            return {}
        steps = min(horizon + 1, replay.longest_segment())
        if steps < 2:  # noqa: PLR2004  a state and the next
            raise ValueError(
                "a world model needs a complete episode with two steps in the buffer, and there is "
                "none"
            )
        self._refresh_moments(replay)
        total = torch.zeros((), device=replay.device)
        self.model.train()
        for _ in range(due):
            total += self._update(replay, steps)
        self.model.eval()
        self.num_updates += due
        self.num_due -= due
        return {"world/loss": float(total) / due, "world/updates": float(self.num_updates)}

    def _update(self, replay: ReplayBuffer, steps: int) -> Tensor:
        index = replay.sample_segments(self.config.batch_size, steps, self._generator)
        segments = replay.gather(index)
        observations = self.model.moments.standardize(segments.observations)
        changes = observations.diff(dim=1)
        mask = segments.mask[:, 1:]
        predicted = self.model(segments.observations[:, :-1], segments.actions[:, :-1], mask)
        loss = forward_loss(predicted, changes, mask)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        return loss.detach()

    def _refresh_moments(self, replay: ReplayBuffer) -> None:
        self.model.moments.reset()
        for part in replay.all_observations().split(STATISTICS_AT_ONCE):
            self.model.moments.update(part)

    def state_dict(self) -> dict[str, Any]:
        """Return the model, its optimiser, how far it is, and its stream of random numbers."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "num_updates": self.num_updates,
            "steps_seen": self.steps_seen,
            "num_due": self.num_due,
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        # torch keeps the tensors of a loaded state and would write into the giver's.
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.num_updates = int(state["num_updates"])
        self.steps_seen = int(state["steps_seen"])
        self.num_due = int(state["num_due"])
        self._generator.set_state(state["generator"].cpu().to(torch.uint8))
