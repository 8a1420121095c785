import pytest
import torch

from pbrl.preference_transformer import (
    PreferenceTransformer,
    PreferenceTransformerConfig,
    preference_weights,
)
from pbrl.segments import Segments
from pbrl.transformer import TransformerConfig

SMALL = PreferenceTransformerConfig(
    transformer=TransformerConfig(width=16, num_layers=2, num_heads=2), num_timesteps=8
)


def make(seed=0, **changes):
    config = PreferenceTransformerConfig(**({**vars(SMALL)} | changes))
    return PreferenceTransformer(config, 3, 2, generator=torch.Generator().manual_seed(seed)).eval()


def segments(number=4, steps=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Segments(
        torch.randn(number, steps, 3, generator=generator),
        torch.randn(number, steps, 2, generator=generator),
        torch.ones(number, steps, dtype=torch.bool),
        torch.zeros(number, steps),
    )


def test_preference_attention_by_hand():
    query = torch.tensor([[[1.0, 0], [0, 1], [1, 1]]])
    key = torch.tensor([[[1.0, 0], [0, 1], [1, -1]]])
    weights = preference_weights(query, key, torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(weights, torch.tensor([[0.362073, 0.391621, 0.246306]]))
    assert float(weights @ torch.tensor([1.0, -1.0, 2.0])) == pytest.approx(0.463063, abs=1e-6)


def test_weights_sum_to_one_over_the_steps_there_are():
    query, key = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    weights = preference_weights(query, key, mask)
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    assert not weights[0, 2:].any()
    torch.testing.assert_close(
        weights[:1, :2], preference_weights(query[:1, :2], key[:1, :2], mask[:1, :2])
    )


def test_a_reward_depends_on_the_past_and_on_nothing_later():
    network, given = make(), segments()
    before = network(given.observations, given.actions, given.mask)
    changed = given.actions.clone()
    changed[:, 3] += 1
    after = network(given.observations, changed, given.mask)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.isclose(before[:, 3:], after[:, 3:]).any()


@pytest.mark.parametrize("attention", [True, False])
def test_padding_changes_neither_rewards_nor_scores(attention):
    network, given = make(attention=attention), segments()

    def padded(part, left, right):
        shape = (len(part), 1, *part.shape[2:])
        ends = [torch.full(shape, 7.0).to(part.dtype) for _ in range(left + right)]
        return torch.cat([*ends[:left], part, *ends[left:]], 1)

    for left, right in ((0, 2), (2, 0)):
        mask = torch.zeros(4, 8, dtype=torch.bool)
        mask[:, left : left + 6] = True
        longer = Segments(
            padded(given.observations, left, right),
            padded(given.actions, left, right),
            mask,
            torch.zeros(4, 8),
        )
        rewards = network(longer.observations, longer.actions, mask)[:, left : left + 6]
        expected = network(given.observations, given.actions, given.mask)
        torch.testing.assert_close(rewards, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            network.scores(longer), network.scores(given), atol=1e-5, rtol=1e-4
        )


def test_the_last_reward_alone_is_that_of_all():
    network, given = make(), segments()
    parts = (given.observations, given.actions, given.mask)
    torch.testing.assert_close(network.last_rewards(*parts), network(*parts)[:, -1])


def test_without_attention_the_score_is_the_mean_reward():
    network, given = make(attention=False), segments()
    rewards = network(given.observations, given.actions, given.mask)
    torch.testing.assert_close(network.scores(given), rewards.mean(1))


def test_pairs_keep_their_shape_and_every_parameter_learns():
    network, given = make(), segments(number=6)
    scores = network.scores(given.reshape(3, 2))
    assert scores.shape == (3, 2)
    scores.diff(dim=1).sum().backward()
    without = {name for name, one in network.named_parameters() if one.grad is None}
    assert without == set()


def test_the_network_of_the_paper_s_commands_has_its_size():
    # README: one block of width 256; their table of places has a row more than there are steps.
    config = PreferenceTransformerConfig(num_timesteps=101)
    network = PreferenceTransformer(config, 11, 3, generator=torch.Generator())
    block = 12 * 256**2 + 13 * 256
    embedding = (11 + 1) * 256 + (3 + 1) * 256 + 101 * 256 + 2 * 256
    heads = (256 + 1) + (256 + 1) * 512
    assert sum(one.numel() for one in network.parameters()) == block + embedding + heads + 512


def test_observations_are_standardised_by_moments_that_are_saved():
    network = make(normalize_observations=True)
    network.observation_moments.update(torch.randn(50, 3) * 4 + 2)
    given = segments()
    again = make(seed=1, normalize_observations=True)
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(network.scores(given), again.scores(given))
    assert not torch.isclose(network.scores(given), make().scores(given)).any()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"transformer": TransformerConfig(kind="bidirectional")}, "transformer must be causal"),
        ({"num_timesteps": 0}, "num_timesteps must be at least 1"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"warmup_share": 1.0}, r"warmup_share must be in \[0, 1\)"),
        ({"lowest_share": 2.0}, "lowest_share"),
    ],
)
def test_impossible_configurations_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        PreferenceTransformerConfig(**options)
