import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.agents.history import ActingHistory
from pbrl.agents.sequence_policy import SequencePolicy, SequencePolicyConfig
from pbrl.transformer import TransformerConfig

CONTEXT = 6


def make(context=CONTEXT, num_timesteps=40, **options):
    config = SequencePolicyConfig(
        transformer=TransformerConfig(width=16, num_layers=2, num_heads=2),
        context=context,
        num_timesteps=num_timesteps,
        **options,
    )
    policy = SequencePolicy(config, 2, 3, 1, generator=torch.Generator().manual_seed(0))
    for parameter in policy.parameters():
        parameter.data.normal_(std=0.4, generator=torch.Generator().manual_seed(1))
    return policy


def draws(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def on_a_window(policy, conditions, observations, actions, first):
    """Return the action after a window of one episode that begins at step `first`."""
    number = len(observations) - first
    padded = torch.cat([actions[first:], torch.zeros(1, 1)])[:number]
    timesteps = torch.arange(first, first + number)
    with torch.no_grad():
        return policy.eval()(
            conditions[None, first:],
            observations[None, first:],
            padded[None],
            timesteps[None],
            torch.ones(1, number, dtype=torch.bool),
            last_only=True,
        )[0, 0]


def rollouts(policy, resets, num_steps, **options):
    """Act with three environments, of which some begin anew, and return what each had seen."""
    history = ActingHistory(policy, **options)
    conditions, observations = draws(num_steps, 3, 2), draws(num_steps, 3, 3, seed=1)
    taken = draws(num_steps, 3, 1, seed=2)
    began = torch.zeros(3, dtype=torch.int64)
    history.begin(torch.ones(3, dtype=torch.bool))
    results = []
    for step in range(num_steps):
        if step in resets:
            is_first = torch.zeros(3, dtype=torch.bool)
            is_first[resets[step]] = True
            history.begin(is_first)
            began[resets[step]] = step
        actions = history.act(conditions[step], observations[step])
        history.record(taken[step])
        for env in range(3):
            episode = slice(int(began[env]), step + 1)
            seen = (conditions[episode, env], observations[episode, env], taken[episode, env][:-1])
            results.append((actions[env], seen))
    return results


def test_cached_acting_equals_the_policy_on_what_it_looks_back_over():
    """Until the context is full that is the episode; then the older half is dropped each time."""
    policy = make()
    for action, seen in rollouts(policy, {4: [1], 5: [0, 2], 11: [1]}, 17):
        step = len(seen[1]) - 1
        first = 0 if step < CONTEXT else 3 * ((step - CONTEXT) // 3 + 1)
        expected = on_a_window(policy, *seen, first)
        torch.testing.assert_close(action, expected, rtol=0, atol=1e-5)


@given(
    resets=st.dictionaries(
        st.integers(1, 19), st.lists(st.integers(0, 2), min_size=1, unique=True), max_size=8
    ),
    context=st.integers(1, 7),
)
@settings(max_examples=8)
def test_cached_acting_is_exact_wherever_episodes_begin(resets, context):
    """Rows fill their contexts at different times, alone or together, around the ring."""
    policy, dropped = make(context=context), (context + 1) // 2
    for action, seen in rollouts(policy, resets, 20):
        step = len(seen[1]) - 1
        first = 0 if step < context else dropped * ((step - context) // dropped + 1)
        expected = on_a_window(policy, *seen, first)
        torch.testing.assert_close(action, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cached", [True, False])
def test_actions_are_ordinary_tensors(cached):
    """They may be changed, and learned from."""
    action = ActingHistory(make(), cached=cached).act(draws(3, 2), draws(3, 3))
    assert not action.is_inference()
    assert not action.requires_grad
    weight = torch.ones(1, requires_grad=True)
    (action.add_(1) * weight).sum().backward()
    assert weight.grad is not None


def test_uncached_acting_looks_back_over_the_whole_context_at_every_step():
    policy = make()
    for action, seen in rollouts(policy, {4: [1], 5: [0, 2]}, 12, cached=False):
        first = max(0, len(seen[1]) - CONTEXT)
        expected = on_a_window(policy, *seen, first)
        torch.testing.assert_close(action, expected, rtol=0, atol=1e-5)


def test_cached_and_uncached_acting_are_equal_while_the_context_lasts():
    policy = make(context=9)
    both = [rollouts(policy, {3: [0], 6: [2]}, 9, cached=cached) for cached in (True, False)]
    for (one, _), (other, _) in zip(*both, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("context", [1, 2, 3])
def test_short_contexts_are_cached_too(context):
    policy = make(context=context)
    for action, seen in rollouts(policy, {2: [1]}, 7):
        step, dropped = len(seen[1]) - 1, (context + 1) // 2
        first = 0 if step < context else dropped * ((step - context) // dropped + 1)
        expected = on_a_window(policy, *seen, first)
        torch.testing.assert_close(action, expected, rtol=0, atol=1e-5)


def test_conditions_before_the_newest_may_be_zero_as_in_the_released_code_of_oppo():
    policy = make(context=4)
    for action, seen in rollouts(policy, {}, 6, cached=False, newest_condition_only=True):
        conditions = seen[0].clone()
        conditions[:-1] = 0
        first = max(0, len(conditions) - 4)
        expected = on_a_window(policy, conditions, *seen[1:], first)
        torch.testing.assert_close(action, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="newest_condition_only"):
        ActingHistory(policy, newest_condition_only=True)


def test_steps_after_the_table_of_places_count_as_its_last():
    policy = make(num_timesteps=CONTEXT)
    actions = [action for action, _ in rollouts(policy, {}, 12)]
    assert all(bool(action.isfinite().all()) for action in actions)


def test_another_number_of_environments_begins_anew():
    policy = make()
    history = ActingHistory(policy)
    one = history.act(draws(2, 2), draws(2, 3))
    history.record(one)
    again = history.act(draws(3, 2)[:1], draws(3, 3)[:1])
    torch.testing.assert_close(
        again[0], ActingHistory(policy).act(draws(3, 2)[:1], draws(3, 3)[:1])[0]
    )
