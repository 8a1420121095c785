"""TACO: codes of states and actions that foretell each other over several steps.

Zheng et al. 2023 (NeurIPS, arXiv 2306.13229); networks and numbers are those of its code. It is an
auxiliary objective: whoever learns beside it reads states through `encode_states` and actions
through `encode_actions`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
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
        reward: also foretell the reward over the K actions.
        noise: standard deviation of what is added to a state for its second view, in the state's
            own unit; 0 where images are shifted instead. Ours, as TACO sees images alone.
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

    def total(self) -> Float[Tensor, ""]:
        """Return the mean of their sum: all weights are 1."""
        return (self.contrastive + self.curl + self.reward).mean()


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

    def encode_states(self, states: Float[Tensor, " batch *state"]) -> Float[Tensor, "batch enc"]:
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
        states: Float[Tensor, " batch *state"],
        actions: Float[Tensor, "batch time act"],
        later_states: Float[Tensor, " batch *state"],
    ) -> Float[Tensor, "batch batch"]:
        """Return how well state and actions of each window fit the later states of all.

        The later states pass no gradient to the encoder, as in the code of TACO.
        """
        joined = self._joined(states, actions)
        return self._compare(self.foretell(joined), later_states)

    def losses(
        self,
        states: Float[Tensor, " batch *state"],
        actions: Float[Tensor, "batch time act"],
        later_states: Float[Tensor, " batch *state"],
        rewards: Float[Tensor, " batch"],
    ) -> TacoLosses:
        """Return the objective for windows of K actions, none of which crosses an episode's end.

        The negatives of a window are the later states of the others in the batch.

        Args:
            states: before the first action.
            actions: K of them.
            later_states: after the last one.
            rewards: summed over the K steps; not looked at without the reward's part. Where they
                come from a model, without gradient.
        """
        joined = self._joined(states, actions)
        contrastive = info_nce(self._compare(self.foretell(joined), later_states))
        curl = reward = torch.zeros_like(contrastive)
        if self.config.curl:
            anchors = self.state_features(self.encode_states(self._view(states)))
            curl = info_nce(self._compare(anchors, self._view(states)))
        if self.config.reward:
            reward = (self.reward_head(joined)[:, 0] - rewards.detach()).square()
        return TacoLosses(contrastive, curl, reward)

    def _joined(self, states: Tensor, actions: Tensor) -> Float[Tensor, "batch both"]:
        features = self.state_features(self.encode_states(states))
        return torch.cat([features, self.encode_sequences(actions)], -1)

    def _compare(self, anchors: Tensor, states: Tensor) -> Float[Tensor, "batch batch"]:
        with torch.no_grad():
            keys = self.state_features(self.encode_states(states))
        return contrastive_logits(anchors, keys, self.metric)

    def _view(self, states: Tensor) -> Tensor:
        if self.config.noise == 0:
            return states
        noise = torch.randn(states.shape, generator=self._generator, device=states.device)
        return states + self.config.noise * noise
