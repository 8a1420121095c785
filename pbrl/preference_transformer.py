"""Preference Transformer (Kim et al. 2023, arXiv 2303.00957): a reward of what has happened."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from pbrl.checks import check_fields
from pbrl.preference import mean_score, sum_score
from pbrl.running_moments import RunningMoments
from pbrl.segments import Segments
from pbrl.sequences import TokenEmbedding, new_linear
from pbrl.transformer import Transformer, TransformerConfig

TOKENS_PER_STEP = 2  # action, then state, which sees the action


@dataclass(frozen=True, kw_only=True)
class PreferenceTransformerConfig:
    """The network and its optimiser; the defaults are those of the paper's commands.

    Attributes:
        transformer: its blocks.
        attention: weigh the steps of a segment by the paper's preference attention. The commands of
            the released code leave it out and take the mean of the steps' rewards, as DPPO's
            predictor does (An et al. 2023).
        num_timesteps: rows of the table of places, at least the steps of a labelled segment. Places
            are counted from the first step of a segment, wherever that stands in its episode.
        normalize_observations: standardise observations by the moments of the dataset.
        weight_decay: of AdamW, 0 or above.
        warmup_share: of all gradient steps, over which the rate rises, in [0, 1).
        lowest_share: of the peak rate, which the rate starts from and falls back to along half a
            cosine, in [0, 1].
    """

    transformer: TransformerConfig = field(
        default_factory=lambda: TransformerConfig(width=256, num_layers=1, num_heads=4)
    )
    attention: bool = True
    num_timesteps: int = 1_000
    normalize_observations: bool = False
    weight_decay: float = 1e-4
    warmup_share: float = 0.1
    lowest_share: float = 0.1

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("transformer", "causal", self.transformer.kind == "causal"),
            ("num_timesteps", "at least 1", self.num_timesteps >= 1),
            ("weight_decay", "0 or above", self.weight_decay >= 0),
            ("warmup_share", "in [0, 1)", 0 <= self.warmup_share < 1),
            ("lowest_share", "in [0, 1]", 0 <= self.lowest_share <= 1),
        )


def preference_weights(
    query: Float[Tensor, "batch time width"],
    key: Float[Tensor, "batch time width"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, "batch time"]:
    """Return how much each step counts: the mean attention that the steps pay to it.

    With rewards r the value of step i is z_i = sum_t softmax_t(q_i . k_t / sqrt(d)) r_t, and the
    mean of z over the steps is the sum of these weights times r. They sum to 1 over the steps in
    the mask.
    """
    logits = query @ key.mT * key.shape[-1] ** -0.5
    attention = logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1)  # [batch, of, to]
    return mean_score(attention.mT, mask[:, None])


class PreferenceTransformer(nn.Module):
    """Maps segments to rewards of their steps, each from the steps up to it, and to a score.

    Args:
        config: the network.
        observation_dim: size of a flat observation.
        action_dim: size of an action.
        generator: source of the initial parameters, which are made on its device, and of dropout.
    """

    def __init__(
        self,
        config: PreferenceTransformerConfig,
        observation_dim: int,
        action_dim: int,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config = config
        width = config.transformer.width
        self.embedding = TokenEmbedding(
            (action_dim, observation_dim), width, config.num_timesteps, generator=generator
        )
        self.transformer = Transformer(config.transformer, generator)
        self.reward_head = new_linear(width, 1, generator)
        self.query_key = new_linear(width, 2 * width, generator) if config.attention else None
        self.observation_moments = RunningMoments(observation_dim).to(generator.device)

    def forward(
        self,
        observations: Float[Tensor, "batch time obs"],
        actions: Float[Tensor, "batch time act"],
        mask: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, "batch time"]:
        """Return the reward of each step; padding may stand on either side."""
        return self._rewards(self._read(observations, actions, mask))

    def last_rewards(
        self,
        observations: Float[Tensor, "batch time obs"],
        actions: Float[Tensor, "batch time act"],
        mask: Bool[Tensor, "batch time"],
    ) -> Float[Tensor, " batch"]:
        """Return the reward of the last step of each window, with padding in front."""
        return self._rewards(self._read(observations, actions, mask, slice(-1, None)))[:, 0]

    def scores(self, segments: Segments) -> Float[Tensor, "*shape"]:
        """Return what the segments are worth: the logits of the preference."""
        flat = segments.reshape(-1)
        outputs = self._read(flat.observations, flat.actions, flat.mask)
        rewards = self._rewards(outputs)
        if self.query_key is None:
            scores = mean_score(rewards, flat.mask)
        else:
            query, key = self.query_key(outputs).chunk(2, -1)
            scores = sum_score(preference_weights(query, key, flat.mask) * rewards, flat.mask)
        return scores.view(segments.mask.shape[:-1])

    def _read(
        self, observations: Tensor, actions: Tensor, mask: Tensor, read: slice | None = None
    ) -> Float[Tensor, "batch read width"]:
        """Return what the tokens of states came to."""
        if self.config.normalize_observations:
            observations = self.observation_moments.standardize(observations)
        places = (mask.cumsum(1) - 1).clamp(min=0)
        tokens = self.embedding((actions, observations), places)
        seen = mask.repeat_interleave(TOKENS_PER_STEP, 1)
        states = slice(1, None, TOKENS_PER_STEP) if read is None else read
        outputs: Tensor = self.transformer(tokens, seen, states)
        return outputs

    def _rewards(self, outputs: Tensor) -> Tensor:
        rewards: Tensor = self.reward_head(outputs)[..., 0]
        return rewards
