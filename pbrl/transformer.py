"""One transformer for every method that reads sequences: blocks of GPT-2's or of BERT's kind."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from pbrl.attention import attention, attention_bias, attention_weights
from pbrl.checks import check_fields
from pbrl.dropout import keep_mask
from pbrl.networks import Linear
from pbrl.token_memory import TokenMemory

INITIAL_STD = 0.02  # of weights, as in GPT-2 and BERT
GPT_EPSILON, BERT_EPSILON = 1e-5, 1e-12  # of the normalisations
WHOLE = slice(None)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Blocks of attention and a perceptron four times as wide, with ReLU.

    Attributes:
        width: of every token.
        num_layers: blocks, at least 1.
        num_heads: heads of attention, a divisor of the width.
        dropout: share of the tokens' features dropped on entry and after each half of a block.
        attention_dropout: share of the attention weights dropped.
        kind: "causal" is GPT-2's: a token sees itself and those before it, and what enters a block
            is normalised. "bidirectional" is BERT's: a token sees all, and what leaves is.
    """

    width: int = 128
    num_layers: int = 3
    num_heads: int = 1
    dropout: float = 0.1
    attention_dropout: float = 0.1
    kind: Literal["causal", "bidirectional"] = "causal"

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("width", "at least 1", self.width >= 1),
            ("num_layers", "at least 1", self.num_layers >= 1),
            (
                "num_heads",
                f"a divisor of the width {self.width}",
                self.num_heads >= 1 and self.width % self.num_heads == 0,
            ),
            ("dropout", "in [0, 1)", 0 <= self.dropout < 1),
            ("attention_dropout", "in [0, 1)", 0 <= self.attention_dropout < 1),
            ("kind", "causal or bidirectional", self.kind in ("causal", "bidirectional")),
        )


class Transformer(nn.Module):
    """Blocks over sequences of embedded tokens; it adds no positions of its own.

    What a token that is not padding comes to does not depend on padding, wherever that stands.

    Args:
        config: the blocks.
        generator: source of the initial parameters, which are made on its device, and of dropout.
    """

    def __init__(self, config: TransformerConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.generator = generator
        self.blocks = nn.ModuleList(Block(config, generator) for _ in range(config.num_layers))
        # GPT-2 normalises after its last block, BERT before its first.
        self.norm = nn.LayerNorm(config.width, eps=_epsilon(config), device=generator.device)

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        mask: Bool[Tensor, "batch token"] | None = None,
        read: slice = WHOLE,
    ) -> Float[Tensor, "batch read width"]:
        """Return what the tokens come to.

        Args:
            tokens: embedded, positions included.
            mask: false on padding; None where there is none.
            read: which tokens are asked for; the last block leaves the others out.
        """
        return self._run(tokens, attention_bias(self._sight(tokens, mask)), read, None)

    def extend(
        self,
        tokens: Float[Tensor, "batch token width"],
        memory: TokenMemory,
        read: slice = WHOLE,
    ) -> Float[Tensor, "batch read width"]:
        """Return what new tokens come to after those that a memory holds, and add them to it.

        What the memory held is not computed again. Causal blocks only, without dropout.

        Args:
            tokens: the new ones, embedded, where `memory.place` has just put them.
            memory: of this transformer.
            read: which of the new tokens are asked for.
        """
        return self._run(tokens, memory.bias, read, memory)

    @torch.no_grad()
    def attention_rows(
        self,
        tokens: Float[Tensor, "batch token width"],
        mask: Bool[Tensor, "batch token"] | None,
        of: Int[Tensor, " batch"],
    ) -> Float[Tensor, "layer batch head token"]:
        """Return how one token of each sequence spreads its attention, in every layer and head.

        Args:
            tokens: as for `forward`.
            mask: likewise.
            of: place of the token in its sequence.

        Raises:
            RuntimeError: in training mode, where dropout would take a part of each row.
        """
        if self.training:
            raise RuntimeError("attention is read in evaluation mode: call eval() before")
        bias = attention_bias(self._sight(tokens, mask))
        tokens = tokens if self.config.kind == "causal" else self.norm(tokens)
        rows = []
        for block in self.blocks:
            assert isinstance(block, Block)
            rows.append(block.attention_rows(tokens, bias, of))
            tokens = block(tokens, bias)
        return torch.stack(rows)

    def _run(self, tokens: Tensor, bias: Tensor, read: slice, memory: TokenMemory | None) -> Tensor:
        is_causal = self.config.kind == "causal"
        tokens = tokens if is_causal else self.norm(tokens)
        if self.training:
            tokens = thinned(tokens, self.config.dropout, self.generator)
        for layer, block in enumerate(self.blocks):
            recall = None if memory is None else partial(memory.recall, layer)
            is_last = layer == len(self.blocks) - 1
            tokens = block(tokens, bias, read if is_last else WHOLE, recall)
        return self.norm(tokens) if is_causal else tokens

    def _sight(self, tokens: Tensor, mask: Tensor | None) -> Bool[Tensor, "batch query key"]:
        """Return which tokens see which.

        Padding must see something. In a causal sequence that is itself, in the other kind what all
        see, or all there is.
        """
        batch, number, _ = tokens.shape
        if mask is None:
            mask = torch.ones(batch, number, dtype=torch.bool, device=tokens.device)
        if self.config.kind == "bidirectional":
            seen = mask | ~mask.any(-1, keepdim=True)
            return seen[:, None].expand(-1, number, -1)
        past = torch.ones(number, number, dtype=torch.bool, device=tokens.device).tril()
        return past & (mask[:, None] | torch.eye(number, dtype=torch.bool, device=tokens.device))


class Block(nn.Module):
    """One layer: attention, then a perceptron, each added to what came in."""

    def __init__(self, config: TransformerConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.generator = generator
        width, device = config.width, generator.device
        self.query = _projection(width, width, generator)
        self.key_value = _projection(width, 2 * width, generator)
        self.output = _projection(width, width, generator)
        self.widen = _projection(width, 4 * width, generator)
        self.narrow = _projection(4 * width, width, generator)
        self.norm_1, self.norm_2 = (
            nn.LayerNorm(width, eps=_epsilon(config), device=device) for _ in range(2)
        )

    def forward(
        self,
        tokens: Float[Tensor, "batch token width"],
        bias: Float[Tensor, "batch token key"],
        read: slice = WHOLE,
        recall: Callable[[Tensor], Tensor] | None = None,
    ) -> Float[Tensor, "batch read width"]:
        """Return the tokens asked for.

        Args:
            tokens: of the layer below.
            bias: which of them see which keys.
            read: which are asked for; the others serve as keys and values alone.
            recall: turns keys and values of these tokens into those of all that came before too.
        """
        is_causal = self.config.kind == "causal"
        normed = self.norm_1(tokens) if is_causal else tokens
        key_value = self.key_value(normed)
        if recall is not None:
            key_value = recall(key_value)
        if read != WHOLE:  # what is not dense multiplies slowly
            tokens, normed = tokens[:, read].contiguous(), normed[:, read].contiguous()
            bias = bias[:, read]
        mixed = attention(
            self.query(normed),
            key_value,
            bias,
            num_heads=self.config.num_heads,
            dropout=self.config.attention_dropout if self.training else 0.0,
            generator=self.generator,
        )
        if is_causal:
            tokens = self._add(tokens, self.output(mixed))
            return self._add(tokens, self._perceptron(self.norm_2(tokens)))
        tokens = self.norm_1(self._add(tokens, self.output(mixed)))
        return self.norm_2(self._add(tokens, self._perceptron(tokens)))  # type: ignore[no-any-return]

    def attention_rows(
        self,
        tokens: Float[Tensor, "batch token width"],
        bias: Float[Tensor, "batch token key"],
        of: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch head key"]:
        """Return the attention weights of one token of each sequence."""
        normed = self.norm_1(tokens) if self.config.kind == "causal" else tokens
        key = self.key_value(normed).chunk(2, -1)[0]
        row = (torch.arange(len(of), device=of.device), of)
        weights = attention_weights(
            self.query(normed[row].unsqueeze(1)),
            key,
            bias[row].unsqueeze(1),
            num_heads=self.config.num_heads,
        )
        return weights.squeeze(2)

    def _perceptron(self, tokens: Tensor) -> Tensor:
        flat = tokens.view(-1, tokens.shape[-1])  # an activation in place on a view would copy
        outputs: Tensor = self.narrow(self.widen(flat).relu_())
        return outputs.view(tokens.shape)

    def _add(self, tokens: Tensor, change: Tensor) -> Tensor:
        if not self.training or self.config.dropout == 0:
            return tokens + change
        keep = keep_mask(change, self.config.dropout, self.generator)
        return torch.add(tokens, change * keep, alpha=1 / (1 - self.config.dropout))


def thinned(values: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Return the values with dropout."""
    if rate == 0:
        return values
    return (values * keep_mask(values, rate, generator)).mul_(1 / (1 - rate))


def _projection(num_inputs: int, num_outputs: int, generator: torch.Generator) -> Linear:
    layer: Linear = nn.utils.skip_init(Linear, num_inputs, num_outputs, device=generator.device)
    layer.weight.data.normal_(std=INITIAL_STD, generator=generator)
    layer.bias.data.zero_()
    return layer


def _epsilon(config: TransformerConfig) -> float:
    return GPT_EPSILON if config.kind == "causal" else BERT_EPSILON
