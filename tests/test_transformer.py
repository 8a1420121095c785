import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.token_memory import TokenMemory
from pbrl.transformer import Transformer, TransformerConfig


def make(kind="causal", *, seed=0, training=False, **options):
    config = TransformerConfig(
        **{"width": 16, "num_layers": 2, "num_heads": 2, "kind": kind} | options
    )
    model = Transformer(config, torch.Generator().manual_seed(seed))
    for parameter in model.parameters():  # larger than at the start, so that differences show
        parameter.data.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    return model.train(training)


def tokens_of(batch, number, width=16, seed=2):
    return torch.randn(batch, number, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["causal", "bidirectional"])
def test_the_number_of_parameters_is_that_of_gpt_2_and_of_bert(kind):
    config = TransformerConfig(width=128, num_layers=3, kind=kind)
    model = Transformer(config, torch.Generator())
    # 12 d^2 + 13 d per block, and one normalisation before or after them.
    expected = 3 * (12 * 128**2 + 13 * 128) + 2 * 128
    assert sum(parameter.numel() for parameter in model.parameters()) == expected


def test_a_causal_token_does_not_depend_on_later_ones():
    model, tokens = make(), tokens_of(3, 7)
    changed = tokens.clone()
    changed[:, 4:] = tokens_of(3, 3, seed=5)
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :4], after[:, :4], rtol=0, atol=1e-6)
    assert (before[:, 4:] - after[:, 4:]).abs().max() > 0.1


def test_a_bidirectional_token_depends_on_all():
    model, tokens = make("bidirectional"), tokens_of(1, 4)
    changed = tokens.clone()
    changed[:, 3] = tokens_of(1, 1, seed=5)[:, 0]
    assert ((model(tokens) - model(changed))[:, 0].abs() > 1e-4).any()


@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    left=st.booleans(),
    extra=st.integers(0, 3),
    noise=st.integers(0, 1000),
    kind=st.sampled_from(["causal", "bidirectional"]),
)
@settings(max_examples=25)
def test_padding_changes_nothing(lengths, left, extra, noise, kind):
    """Each sequence alone comes to what it does in a padded batch, whatever the padding holds."""
    model = make(kind)
    size = max(lengths) + extra
    batch = tokens_of(len(lengths), size, seed=noise) * 10
    mask = torch.zeros(len(lengths), size, dtype=torch.bool)
    alone = [tokens_of(1, length, seed=length) for length in lengths]
    places = [slice(size - n, size) if left else slice(0, n) for n in lengths]
    for row, (sequence, place) in enumerate(zip(alone, places, strict=True)):
        batch[row, place] = sequence[0]
        mask[row, place] = True
    together = model(batch, mask)
    assert bool(together.isfinite().all())
    for row, (sequence, place) in enumerate(zip(alone, places, strict=True)):
        torch.testing.assert_close(together[row, place], model(sequence)[0], rtol=1e-4, atol=1e-5)


def test_a_sequence_of_padding_alone_stays_finite():
    for kind in ("causal", "bidirectional"):
        outputs = make(kind)(tokens_of(2, 3), torch.tensor([[False] * 3, [True] * 3]))
        assert bool(outputs.isfinite().all())


def test_permuting_the_batch_permutes_the_outputs():
    model, tokens = make(), tokens_of(5, 6)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(model(tokens)[order], model(tokens[order]))


@pytest.mark.parametrize("kind", ["causal", "bidirectional"])
def test_reading_some_tokens_gives_what_reading_all_gives(kind):
    model, tokens = make(kind), tokens_of(2, 6)
    tokens.requires_grad_()
    mask = torch.tensor([[True] * 6, [False, False, True, True, True, True]])
    read = slice(1, None, 3)
    some, every = model(tokens, mask, read), model(tokens, mask)[:, read]
    torch.testing.assert_close(some, every)
    weight = tokens_of(2, 2)
    (by_some,) = torch.autograd.grad((some * weight).sum(), tokens)
    (by_every,) = torch.autograd.grad((every * weight).sum(), tokens)
    torch.testing.assert_close(by_some, by_every)


def test_blocks_equal_those_of_torch():
    """Against torch's own encoder layer with the same parameters, before and after its norms."""
    for kind in ("causal", "bidirectional"):
        model, tokens = make(kind, num_layers=1), tokens_of(2, 5)
        block = model.blocks[0]
        theirs = torch.nn.TransformerEncoderLayer(
            16, 2, 64, dropout=0.0, batch_first=True, norm_first=kind == "causal",
            layer_norm_eps=block.norm_1.eps,
        )  # fmt: skip
        state = {
            "self_attn.in_proj_weight": torch.cat([block.query.weight, block.key_value.weight]),
            "self_attn.in_proj_bias": torch.cat([block.query.bias, block.key_value.bias]),
            "self_attn.out_proj": block.output,
            "linear1": block.widen,
            "linear2": block.narrow,
            "norm1": block.norm_1,
            "norm2": block.norm_2,
        }
        flat = {}
        for name, part in state.items():
            if isinstance(part, torch.nn.Module):
                flat |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
            else:
                flat[name] = part
        theirs.load_state_dict(flat)
        causal = torch.nn.Transformer.generate_square_subsequent_mask(5)
        if kind == "causal":
            expected = model.norm(theirs(tokens, src_mask=causal))
        else:
            expected = theirs(model.norm(tokens))
        torch.testing.assert_close(model(tokens), expected, rtol=1e-4, atol=1e-5)


def test_dropout_is_drawn_from_the_generator():
    tokens = tokens_of(2, 4)
    one, other = make(training=True, seed=3), make(training=True, seed=3)
    assert torch.equal(one(tokens), other(tokens))
    assert not torch.equal(one(tokens), one(tokens))
    assert torch.equal(one.eval()(tokens), one(tokens))


def test_every_parameter_receives_a_gradient():
    for kind in ("causal", "bidirectional"):
        model = make(kind, training=True)
        outputs = model(tokens_of(3, 5), None, slice(1, None, 2))
        (outputs * tokens_of(3, 2)).sum().backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            if name.endswith("key_value.bias"):  # a constant added to all keys changes nothing
                assert bool((parameter.grad[16:] != 0).any())
            else:
                assert bool((parameter.grad != 0).any()), name


def extended(model, memory, tokens, slots, **options):
    memory.place(slots, **options)
    return model.extend(tokens, memory)


def test_extending_step_by_step_equals_the_whole():
    """Two sequences of which one begins later, and one empty slot on the way."""
    model, tokens = make(), tokens_of(2, 6)
    mask = torch.tensor(
        [[True, True, False, True, True, True], [False, True, True, True, True, True]]
    )
    memory = TokenMemory(2, 6, num_layers=2, width=16, device=torch.device("cpu"))
    with torch.no_grad():
        parts = [
            extended(
                model, memory, tokens[:, start:end], slice(start, end), mask=mask[:, start:end]
            )
            for start, end in ((0, 2), (2, 3), (3, 6))
        ]
        whole = model(tokens, mask)
    torch.testing.assert_close(torch.cat(parts, 1)[mask], whole[mask], rtol=0, atol=1e-5)


def test_a_forgotten_sequence_starts_anew_and_the_others_go_on():
    model, tokens = make(), tokens_of(2, 4)
    memory = TokenMemory(2, 4, num_layers=2, width=16, device=torch.device("cpu"))
    with torch.no_grad():
        extended(model, memory, tokens[:, :2], slice(0, 2))
        memory.forget(torch.tensor([0]))
        first, second = torch.arange(2), torch.arange(2, 4)
        anew = extended(model, memory, tokens[:1, 2:], first, rows=torch.tensor([0]))
        torch.testing.assert_close(anew, model(tokens[:1, 2:]), rtol=0, atol=1e-5)
        on = extended(model, memory, tokens[1:, 2:], second, rows=torch.tensor([1]))
        torch.testing.assert_close(on, model(tokens[1:])[:, 2:], rtol=0, atol=1e-5)


def test_slots_may_be_filled_in_any_order_and_again():
    """What a slot held before is lost, and where a token stands makes no difference."""
    model, tokens = make(), tokens_of(2, 5)
    memory = TokenMemory(2, 4, num_layers=2, width=16, device=torch.device("cpu"))
    with torch.no_grad():
        extended(model, memory, tokens_of(2, 1, seed=5), slice(1, 2))
        memory.forget(torch.arange(2))
        extended(model, memory, tokens[:, :3], torch.tensor([2, 0, 3]))
        last = extended(model, memory, tokens[:, 3:4], slice(1, 2))
        torch.testing.assert_close(last, model(tokens[:, :4])[:, 3:], rtol=0, atol=1e-5)
        again = extended(model, memory, tokens[:, 4:], slice(1, 2))
        expected = model(tokens[:, [0, 1, 2, 4]])[:, 3:]
        torch.testing.assert_close(again, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_heads": 3}, "divisor of the width 16"),
        ({"num_layers": 0}, "num_layers"),
        ({"dropout": 1.0}, "dropout"),
        ({"attention_dropout": -0.1}, "attention_dropout"),
    ],
)
def test_impossible_transformers_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        TransformerConfig(**{"width": 16} | options)


@pytest.mark.parametrize("kind", ["causal", "bidirectional"])
def test_attention_of_one_token_in_every_layer(kind):
    model, tokens = make(kind), tokens_of(3, 5)
    mask = torch.tensor([[True] * 5, [True, True, True, False, False], [True] * 5])
    rows = model.attention_rows(tokens, mask, torch.tensor([4, 2, 1]))
    assert rows.shape == (2, 3, 2, 5)
    torch.testing.assert_close(rows.sum(-1), torch.ones(2, 3, 2))
    assert (rows[:, 1, :, 3:] == 0).all()
    assert (rows[:, 2, :, 2:] == 0).all() == (kind == "causal")
    alone = model.attention_rows(tokens[:1], None, torch.tensor([4]))
    torch.testing.assert_close(rows[:, :1], alone)
