"""TACO: codes of states and actions that foretell each other over several steps.

Zheng et al. 2023 (NeurIPS, arXiv 2306.13229); networks and numbers are those of its code. It is an
auxiliary objective: whoever learns beside it reads states through `encode_states` and actions
through `encode_actions`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Real
from torch import Tensor, nn

from pbrl.networks import mlp

TOKEN_HIDDEN = 64


@dataclass(frozen=True, kw_only=True)
class TacoConfig:
    """Sizes and parts of the objective; the defaults are those of TACO's code.

    Attributes:
        num_actions: K, actions between the two states, at least 1.
        num_features: size of what is compared.
        hidden_size: of the two perceptrons that join a state and its actions.
        curl: also let two views of one state find each other (Laskin et al. 2020).
        reward: also foretell the reward that comes with a window: its first n steps', as the batch
            of the learner sums them (DrQ-v2: n of its critics, codes of states: one).
        noise: standard deviation of what is added to a state for its second view, in the state's
            own unit; not looked at where the second view is given, as that of a shifted image.
            Ours, as TACO sees images alone.
    """

    num_actions: int = 3
    num_features: int = 50
    hidden_size: int = 1024
    curl: bool = True
    reward: bool = True
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("num_actions", "num_features", "hidden_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.noise < 0:
            raise ValueError(f"noise must not be negative, got {self.noise}")


class TacoLosses(NamedTuple):
    """The three parts of the objective, one value per window; 0 for a part that is left out."""

    contrastive: Float[Tensor, " batch"]
    curl: Float[Tensor, " batch"]
    reward: Float[Tensor, " batch"]

    def total(self, counts: Bool[Tensor, " batch"] | None = None) -> Float[Tensor, ""]:
        """Return the mean of their sum, over the windows that count: all weights are 1."""
        sums = self.contrastive + self.curl + self.reward
        if counts is None:
            return sums.mean()
        return torch.where(counts, sums, 0.0).sum() / counts.sum().clamp(min=1)


def contrastive_logits(
    anchors: Float[Tensor, "batch feature"],
    keys: Float[Tensor, "batch feature"],
    metric: Float[Tensor, "feature feature"],
) -> Float[Tensor, "batch batch"]:
    """Return g_i' W h_j: how well each anchor (row) fits each key (column)."""
    return anchors @ metric @ keys.T


def info_nce(logits: Float[Tensor, "batch batch"]) -> Float[Tensor, " batch"]:
    """Return -ln softmax of the diagonal, the key of each row's own window among all.

    ln(batch) minus the mean is a lower bound of the mutual information (van den Oord et al. 2018);
    logits that tell nothing give exactly ln(batch).
    """
    own = torch.arange(len(logits), device=logits.device)
    return F.cross_entropy(logits, own, reduction="none")


def top_accuracy(logits: Float[Tensor, "batch batch"]) -> Float[Tensor, ""]:
    """Return the share of rows whose largest logit is their own.

    Repeated states keep it below 1 on real data.
    """
    own: Int[Tensor, " batch"] = torch.arange(len(logits), device=logits.device)
    return (logits.argmax(1) == own).to(logits.dtype).mean()


def token_size(action_dim: int) -> int:
    """Return the size of an action's code, int(1.25 A) + 1: wider than the action."""
    return int(1.25 * action_dim) + 1


class Taco(nn.Module):
    """Encoders of states and actions, and what is learned with them.

    Args:
        config: sizes and parts.
        encoder: maps states `[batch, ...]` to codes `[batch, encoding]`; shared with whoever learns
            beside this.
        encoding_dim: size of its codes.
        action_dim: size of an action.
        generator: source of the initial parameters, orthogonal for linear layers, and of noise.
    """

    def __init__(
        self,
        config: TacoConfig,
        encoder: nn.Module,
        encoding_dim: int,
        action_dim: int,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder
        self.action_dim = action_dim
        self._generator = generator
        token, features = token_size(action_dim), config.num_features
        joint = config.num_actions * token
        device = generator.device

        def layers(*sizes: int, activation: str = "relu") -> nn.Sequential:
            return mlp(
                sizes, activation=activation, initialization="orthogonal", generator=generator
            )

        self.token = layers(action_dim, TOKEN_HIDDEN, token, activation="tanh")
        self.sequence = nn.Sequential(
            layers(joint, joint), nn.LayerNorm(joint, device=device), nn.Tanh()
        )
        self.state_features = nn.Sequential(
            layers(encoding_dim, features), nn.LayerNorm(features, device=device), nn.Tanh()
        )
        self.foretell = layers(features + joint, config.hidden_size, features)
        self.reward_head = layers(features + joint, config.hidden_size, 1)
        self.metric = nn.Parameter(
            torch.rand(features, features, generator=generator, device=device)
        )

    def encode_states(self, states: Real[Tensor, " batch *state"]) -> Float[Tensor, "batch enc"]:
        """Return the code of each state."""
        codes: Tensor = self.encoder(states)
        return codes

    def encode_actions(self, actions: Float[Tensor, "*batch act"]) -> Float[Tensor, "*batch token"]:
        """Return the code of each action."""
        tokens: Tensor = self.token(actions)
        return tokens

    def encode_sequences(
        self, actions: Float[Tensor, "batch time act"]
    ) -> Float[Tensor, "batch joint"]:
        """Return the code of each sequence of K actions; their order counts."""
        joint: Tensor = self.sequence(self.encode_actions(actions).flatten(1))
        return joint

    def logits(
        self,
        states: Real[Tensor, " batch *state"],
        actions: Float[Tensor, "batch time act"],
        later_states: Real[Tensor, " batch *state"],
    ) -> Float[Tensor, "batch batch"]:
        """Return how well state and actions of each window fit the later states of all.

        The later states pass no gradient to the encoder, as in the code of TACO.
        """
        features = self.state_features(self.encode_states(states))
        return self._compare(self.foretell(self._join(features, actions)), later_states)

    def losses(
        self,
        states: Real[Tensor, " batch *state"],
        actions: Float[Tensor, "batch time act"],
        later_states: Real[Tensor, " batch *state"],
        rewards: Float[Tensor, " batch"],
        other_views: Real[Tensor, " batch *state"] | None = None,
    ) -> TacoLosses:
        """Return the objective for windows of K actions, none of which crosses an episode's end.

        The negatives of a window are the later states of the others in the batch.

        Args:
            states: before the first action.
            actions: K of them.
            later_states: after the last one.
            rewards: of each window, see `TacoConfig.reward`; not looked at without that part. Where
                they come from a model, without gradient.
            other_views: of the same states, for CURL, such as images shifted otherwise; by default
                the states with noise.
        """
        features = self.state_features(self.encode_states(states))
        joined = self._join(features, actions)
        contrastive = info_nce(self._compare(self.foretell(joined), later_states))
        curl = reward = torch.zeros_like(contrastive)
        if self.config.curl:
            keys = self._with_noise(states) if other_views is None else other_views
            curl = info_nce(self._compare(features, keys))
        if self.config.reward:
            reward = (self.reward_head(joined)[:, 0] - rewards.detach()).square()
        return TacoLosses(contrastive, curl, reward)

    def _join(self, features: Tensor, actions: Tensor) -> Float[Tensor, "batch both"]:
        return torch.cat([features, self.encode_sequences(actions)], -1)

    def _compare(self, anchors: Tensor, states: Tensor) -> Float[Tensor, "batch batch"]:
        with torch.no_grad():
            keys = self.state_features(self.encode_states(states))
        return contrastive_logits(anchors, keys, self.metric)

    def _with_noise(self, states: Tensor) -> Tensor:
        noise = torch.randn(states.shape, generator=self._generator, device=states.device)
        return states + self.config.noise * noise
