import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.networks import mlp
from pbrl.taco import Taco, TacoConfig, contrastive_logits, info_nce, token_size, top_accuracy

G = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
H = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.5, 0.5]])


@pytest.mark.parametrize(
    ("metric", "rows", "mean"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [0.680270, 0.306356, 1.551445], 0.846023),
        ([[2.0, 1.0], [0.0, 1.0]], [0.958020, 0.306356, 2.239545], 1.167974),
    ],
)
def test_contrast_by_hand(metric, rows, mean):
    losses = info_nce(contrastive_logits(G, H, torch.tensor(metric)))
    torch.testing.assert_close(losses, torch.tensor(rows), atol=2e-6, rtol=0)
    assert losses.mean().item() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("batch", [2, 256, 512, 1024])
def test_what_tells_nothing_costs_the_logarithm_of_the_batch(batch):
    losses = info_nce(torch.full((batch, batch), 3.0))
    torch.testing.assert_close(losses, torch.full((batch,), math.log(batch)))


@given(st.integers(0, 10_000), st.integers(2, 8))
@settings(max_examples=25)
def test_properties_of_the_contrast(seed, batch):
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, batch, generator=draws, dtype=torch.float64)
    losses = info_nce(logits)
    shift = torch.randn(batch, 1, generator=draws, dtype=torch.float64)
    torch.testing.assert_close(info_nce(logits + 1e3 * shift), losses, atol=1e-9, rtol=0)
    order = torch.randperm(batch, generator=draws)
    torch.testing.assert_close(info_nce(logits[order][:, order]), losses[order])
    sure = logits.clone().fill_diagonal_(float(logits.max()) + 1)
    assert info_nce(1e3 * sure).max() < 1e-6
    assert top_accuracy(sure) == 1


def test_codes_of_actions_have_the_sizes_of_the_paper_s_code():
    dims = (1, 2, 3, 4, 6, 7, 8, 9, 12, 17, 21)
    assert [token_size(dim) for dim in dims] == [2, 3, 4, 6, 8, 9, 11, 12, 16, 22, 27]


def make(seed=0, encoder_sizes=(6, 16, 16), action_dim=2, **config):
    draws = torch.Generator().manual_seed(seed)
    encoder = mlp(encoder_sizes, generator=draws)
    return Taco(TacoConfig(**config), encoder, encoder_sizes[-1], action_dim, generator=draws)


def parameters(module) -> int:
    return sum(part.numel() for part in module.parameters())


def test_the_numbers_of_parameters_are_those_of_the_paper_s_code():
    taco = make(encoder_sizes=(6, 256), action_dim=6)
    counts = [
        parameters(part)
        for part in (
            taco.token, taco.sequence, taco.state_features, taco.foretell, taco.reward_head
        )
    ]  # fmt: skip
    assert counts == [968, 648, 12_950, 128_050, 77_825]
    assert taco.metric.numel() == 2_500
    wide = make(encoder_sizes=(6, 256), action_dim=12)
    parts = (wide.token, wide.sequence, wide.foretell, wide.reward_head)
    assert [parameters(part) for part in parts] == [1_872, 2_448, 152_626, 102_401]


def windows(batch=5, steps=3, seed=1):
    draws = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, 6, generator=draws),
        2 * torch.rand(batch, steps, 2, generator=draws) - 1,
        torch.randn(batch, 6, generator=draws),
        torch.randn(batch, generator=draws),
    )


def test_parts_that_are_left_out_are_exactly_zero_and_the_rest_reaches_every_parameter():
    bare = make(curl=False, reward=False).losses(*windows())
    assert (bare.curl == 0).all()
    assert (bare.reward == 0).all()
    taco = make(noise=0.05)
    taco.losses(*windows()).total().backward()
    for name, part in taco.named_parameters():
        assert part.grad is not None, name
        assert (part.grad != 0).any(), name


def test_later_states_pass_no_gradient():
    states, actions, later, rewards = windows()
    states.requires_grad_()
    later.requires_grad_()
    make().losses(states, actions, later, rewards).total().backward()
    assert later.grad is None
    assert (states.grad != 0).any()


def test_the_order_of_actions_counts_and_one_action_is_a_sequence_too():
    _, actions, _, _ = windows()
    taco = make()
    assert not torch.allclose(
        taco.encode_sequences(actions), taco.encode_sequences(actions.flip(1))
    )
    single = make(num_actions=1)
    assert single.encode_sequences(actions[:, :1]).shape == (5, token_size(2))


def test_the_reward_s_part_by_hand():
    taco = make(curl=False)
    with torch.no_grad():
        taco.reward_head[-2].weight.zero_()
        taco.reward_head[-2].bias.fill_(0.25)
    *given_, rewards = windows()
    found = taco.losses(*given_, rewards).reward
    torch.testing.assert_close(found, (0.25 - rewards).square())


def dynamics(aligned: bool, updates: int = 800) -> tuple[float, float]:
    """Return loss and top accuracy after training on s' = 0.95 Q s + B a + noise, K = 3."""
    draws = torch.Generator().manual_seed(0)
    turn = 0.95 * torch.linalg.qr(torch.randn(6, 6, generator=draws)).Q
    push = torch.randn(6, 2, generator=draws)
    taco = make(encoder_sizes=(6, 256, 256), curl=False, reward=False, hidden_size=256)
    optimizer = torch.optim.Adam(taco.parameters(), lr=1e-3, fused=True)
    for _ in range(updates):
        state = states = torch.randn(128, 6, generator=draws)
        actions = 2 * torch.rand(128, 3, 2, generator=draws) - 1
        for step in range(3):
            noise = 0.02 * torch.randn(128, 6, generator=draws)
            state = state @ turn.T + actions[:, step] @ push.T + noise
        seen = actions if aligned else actions[torch.randperm(128, generator=draws)]
        logits = taco.logits(states, seen, state)
        loss = info_nce(logits).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item(), top_accuracy(logits).item()


@pytest.mark.many_updates
def test_actions_tell_what_comes_of_a_state():
    """A gradient that lacks, or a window off by one, shows here at once."""
    loss, accuracy = dynamics(aligned=True)
    mixed_loss, mixed_accuracy = dynamics(aligned=False)
    assert loss < 0.3
    assert accuracy > 0.9
    assert mixed_loss > 2
    assert mixed_accuracy < 0.4


@pytest.mark.parametrize("field", ["num_actions", "num_features", "hidden_size"])
def test_sizes_must_be_positive(field):
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        TacoConfig(**{field: 0})


def test_noise_must_not_be_negative():
    with pytest.raises(ValueError, match="noise must not be negative"):
        TacoConfig(noise=-0.1)
