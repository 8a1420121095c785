import math

import pytest
import torch

from pbrl.attention import attention, attention_bias, attention_weights


def operands(heads=2, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 3, 4 * heads, generator=generator, dtype=dtype, requires_grad=True)
    key_value = torch.randn(2, 5, 8 * heads, generator=generator, dtype=dtype, requires_grad=True)
    mask = torch.rand(2, 3, 5, generator=generator) < 0.6
    mask[..., 0] = True
    return query, key_value, attention_bias(mask).to(dtype)


def plain(query, key_value, bias, heads):
    """Head by head, from the formula."""
    width = query.shape[-1] // heads
    keys, values = key_value.chunk(2, -1)
    parts = []
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        logits = query[..., part] @ keys[..., part].mT / math.sqrt(width) + bias
        parts.append(logits.softmax(-1) @ values[..., part])
    return torch.cat(parts, -1)


@pytest.mark.parametrize("heads", [1, 2])
def test_values_and_derivatives_equal_the_formula(heads):
    query, key_value, bias = operands(heads)
    ours = attention(query, key_value, bias, num_heads=heads)
    theirs = plain(query, key_value, bias, heads)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)).double()
    for one, other in zip(
        torch.autograd.grad((ours * weight).sum(), (query, key_value)),
        torch.autograd.grad((theirs * weight).sum(), (query, key_value)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_without_gradients_the_values_are_the_same():
    query, key_value, bias = operands(dtype=torch.float32)
    with torch.no_grad():
        inferred = attention(query, key_value, bias, num_heads=2)
    torch.testing.assert_close(inferred, attention(query, key_value, bias, num_heads=2).detach())


def test_the_derivatives_of_dropout_are_those_of_what_was_drawn():
    query, key_value, bias = operands()

    def thinned(query, key_value):
        generator = torch.Generator().manual_seed(7)
        return attention(query, key_value, bias, num_heads=2, dropout=0.4, generator=generator)

    assert torch.autograd.gradcheck(thinned, (query, key_value))
    assert not torch.allclose(thinned(query, key_value), plain(query, key_value, bias, 2))


def test_dropout_keeps_the_mean():
    query, key_value, bias = operands()
    generator = torch.Generator().manual_seed(0)
    total = sum(
        attention(query, key_value, bias, num_heads=2, dropout=0.3, generator=generator).detach()
        for _ in range(4000)
    )
    torch.testing.assert_close(total / 4000, plain(query, key_value, bias, 2), rtol=0, atol=0.08)


def test_weights_mix_the_values_as_attention_does():
    draws = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 5, 8, generator=draws) for _ in range(3))
    mask = torch.ones(5, 5, dtype=torch.bool).tril().expand(2, -1, -1)
    bias = attention_bias(mask)
    weights = attention_weights(query, key, bias, num_heads=2)  # [batch, head, query, key]
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 5))
    assert (weights[..., 0, 1:] == 0).all()
    values = value.unflatten(-1, (2, 4)).transpose(1, 2)
    mixed = (weights @ values).transpose(1, 2).flatten(-2)
    expected = attention(query, torch.cat([key, value], -1), bias, num_heads=2)
    torch.testing.assert_close(mixed, expected)
