import pytest
import torch

from pbrl.agents.sequence_policy import SequencePolicy, SequencePolicyConfig
from pbrl.transformer import TransformerConfig


def make(**options):
    config = SequencePolicyConfig(
        transformer=TransformerConfig(width=16, num_layers=2, num_heads=2),
        **{"context": 5, "num_timesteps": 30} | options,
    )
    policy = SequencePolicy(config, 1, 3, 2, generator=torch.Generator().manual_seed(0)).eval()
    for parameter in policy.parameters():
        parameter.data.normal_(std=0.4, generator=torch.Generator().manual_seed(1))
    return policy


def batch(number=4, steps=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = [torch.randn(number, steps, dim, generator=generator) for dim in (1, 3, 2)]
    timesteps = torch.arange(steps).expand(number, -1) + torch.arange(number)[:, None]
    return [*parts, timesteps, torch.ones(number, steps, dtype=torch.bool)]


def test_an_action_depends_on_the_past_and_on_its_state_but_on_nothing_later():
    policy, parts = make(), batch()
    before = policy(*parts)
    assert before.shape == (4, 5, 2)
    assert bool((before.abs() < 1).all())
    for part in range(3):
        changed = [value.clone() for value in parts]
        changed[part][:, 2] += 3
        difference = (policy(*changed) - before).abs().amax((0, 2))
        first = 3 if part == 2 else 2  # an action is read by the steps after it
        assert bool((difference[:first] < 1e-6).all())
        assert bool((difference[first:] > 1e-4).all())


def test_padding_on_either_side_changes_nothing():
    policy, parts = make(), batch()
    alone = policy(*[value[:, 2:4] for value in parts])
    for place in (slice(3, 5), slice(0, 2)):
        noisy = batch(seed=5)
        noisy[4] = torch.zeros_like(noisy[4])
        for value, real in zip(noisy, parts, strict=True):
            value[:, place] = real[:, 2:4]
        torch.testing.assert_close(policy(*noisy)[:, place], alone, rtol=1e-4, atol=1e-5)


def test_the_last_action_alone_is_that_of_all():
    policy, parts = make(), batch()
    torch.testing.assert_close(policy(*parts, last_only=True)[:, 0], policy(*parts)[:, -1])


def test_predictions_have_the_same_actions_and_read_observations_off_the_actions():
    policy, parts = make(predict_observations=True), batch()
    actions, observations = policy.predict(*parts)
    torch.testing.assert_close(actions, policy(*parts))
    assert observations.shape == (4, 5, 3)
    changed = [value.clone() for value in parts]
    changed[2][:, 2] += 3
    difference = (policy.predict(*changed)[1] - observations).abs().amax((0, 2))
    assert bool((difference[:2] < 1e-6).all())
    assert bool((difference[2:] > 1e-4).all())


def test_conditions_may_go_without_a_place():
    for timed in (True, False):
        policy = make(timed_condition=timed)
        parts = batch()
        tokens = policy.embed(*parts[:4])
        later = policy.embed(*parts[:3], parts[3] + 1)
        same = (tokens - later).abs().amax((0, 2)) < 1e-6
        assert same.tolist() == [not timed, False, False] * 5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"context": 31}, "the 30 rows of the table of places"),
        ({"context": 0}, "got 0"),
    ],
)
def test_impossible_contexts_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        make(**options)
    with pytest.raises(ValueError, match="must be causal"):
        SequencePolicyConfig(transformer=TransformerConfig(kind="bidirectional"))


@pytest.mark.parametrize("timed_condition", [True, False])
def test_the_tokens_that_arrive_with_a_step_are_those_of_the_whole(timed_condition):
    """The action before it, its condition and its state, also where the table of places ends."""
    policy = make(num_timesteps=6, timed_condition=timed_condition)
    conditions, observations, actions, timesteps, _ = batch()
    whole = policy.embed(conditions, observations, actions, timesteps)
    for step in range(5):
        arriving = policy.embedding.arriving(
            actions[:, step - 1], (conditions[:, step], observations[:, step]), timesteps[:, step]
        )
        first = 1 if step == 0 else 0  # of a first step there is no action before
        expected = whole[:, 3 * step - 1 + first : 3 * step + 2]
        torch.testing.assert_close(arriving[:, first:], expected)
