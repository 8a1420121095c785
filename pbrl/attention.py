"""Attention of several heads, on strided views of its projections.

torch's own operator serves where it is fast. Its backward pass on a CPU takes five times as long as
the products it consists of once there is a mask, and it draws dropout from torch's global
generator; there the products are written out, head by head, so that nothing is copied.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.dropout import keep_mask


def attention_bias(mask: Bool[Tensor, "batch query key"]) -> Float[Tensor, "batch query key"]:
    """Return what is added to the logits: 0 where a query sees a key, minus infinity elsewhere.

    Every query must see a key.
    """
    bias = torch.zeros(mask.shape, device=mask.device)
    return bias.masked_fill_(~mask, -math.inf)


def attention(
    query: Float[Tensor, "batch query width"],
    key_value: Float[Tensor, "batch key two_widths"],
    bias: Float[Tensor, "batch query key"],
    *,
    num_heads: int,
    dropout: float = 0.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch query width"]:
    """Return softmax(q k^T / sqrt(d) + bias) v of each head, the heads side by side.

    Args:
        query: projected queries, the heads side by side.
        key_value: projected keys, then projected values.
        bias: see `attention_bias`.
        num_heads: number of heads, a divisor of the width.
        dropout: share of the attention weights dropped, in [0, 1).
        generator: source of dropout.
    """
    if dropout == 0 and (query.device.type != "cpu" or not torch.is_grad_enabled()):
        queries = _heads(query, num_heads)
        keys, values = _heads(key_value, 2 * num_heads).chunk(2, 1)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias[:, None])
        return mixed.transpose(1, 2).flatten(-2)
    keep = None
    if dropout > 0:
        shape = (num_heads, *bias.shape)
        keep = keep_mask(bias.new_empty(1).expand(shape), dropout, generator)
    outputs: Tensor = _Attention.apply(query, key_value, bias, num_heads, keep, 1 / (1 - dropout))
    return outputs


def attention_weights(
    query: Float[Tensor, "batch query width"],
    key: Float[Tensor, "batch key width"],
    bias: Float[Tensor, "batch query key"],
    *,
    num_heads: int,
) -> Float[Tensor, "batch head query key"]:
    """Return softmax(q k^T / sqrt(d) + bias) of each head: each row sums to 1, without dropout."""
    queries, keys = _heads(query, num_heads), _heads(key, num_heads)
    logits = queries @ keys.mT * queries.shape[-1] ** -0.5 + bias[:, None]
    weights: Tensor = logits.softmax(-1)
    return weights


def _heads(parts: Tensor, num_heads: int) -> Tensor:
    batch, number, width = parts.shape
    return parts.view(batch, number, num_heads, width // num_heads).transpose(1, 2)


class _Attention(torch.autograd.Function):
    """The products and their derivatives; a head is a slice of the features."""

    @staticmethod
    def forward(  # noqa: PLR0913  operands and constants
        ctx: Any,
        query: Tensor,
        key_value: Tensor,
        bias: Tensor,
        num_heads: int,
        keep: Tensor | None,
        scale: float,
    ) -> Tensor:
        queries, keys, values = _split(query, key_value, num_heads)
        outputs = torch.empty_like(query)
        weights = []
        for head, output in enumerate(outputs.chunk(num_heads, -1)):
            temperature = queries[head].shape[-1] ** -0.5
            logits = torch.baddbmm(bias, queries[head], keys[head].mT, alpha=temperature)
            weights.append(logits.softmax(-1))
            dropped = _dropped(weights[head], keep, head, scale)
            torch.bmm(dropped, values[head], out=output)
        ctx.save_for_backward(query, key_value, keep, *weights)
        ctx.scale = scale
        return outputs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key_value, keep, *weights = ctx.saved_tensors
        num_heads = len(weights)
        queries, keys, values = _split(query, key_value, num_heads)
        by_query, by_key_value = torch.empty_like(query), torch.empty_like(key_value)
        by_queries, by_keys, by_values = _split(by_query, by_key_value, num_heads)
        for head, gradient in enumerate(gradients[0].chunk(num_heads, -1)):
            dropped = _dropped(weights[head], keep, head, ctx.scale)
            torch.bmm(dropped.mT, gradient, out=by_values[head])
            by_weights = _dropped(torch.bmm(gradient, values[head].mT), keep, head, ctx.scale)
            by_logits = torch.ops.aten._softmax_backward_data(
                by_weights, weights[head], -1, query.dtype
            )
            by_logits *= queries[head].shape[-1] ** -0.5
            torch.bmm(by_logits, keys[head], out=by_queries[head])
            torch.bmm(by_logits.mT, queries[head], out=by_keys[head])
        return by_query, by_key_value, None, None, None, None


def _split(
    query: Tensor, key_value: Tensor, num_heads: int
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Return views of queries, keys and values, one per head."""
    parts = key_value.chunk(2 * num_heads, -1)
    return query.chunk(num_heads, -1), parts[:num_heads], parts[num_heads:]


def _dropped(values: Tensor, keep: Tensor | None, head: int, scale: float) -> Tensor:
    if keep is None:
        return values
    dropped: Tensor = values * keep[head]
    return dropped.mul_(scale)
