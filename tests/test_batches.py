import pytest
import torch

from pbrl.batches import ONE_STEP, Batch, BatchSteps, multistep


def single(number=4):
    draws = torch.Generator().manual_seed(0)
    return Batch(
        observations=torch.randn(number, 3, generator=draws),
        actions=torch.rand(number, 2, generator=draws),
        rewards=torch.rand(number, generator=draws),
        next_observations=torch.randn(number, 3, generator=draws),
        terminated=torch.zeros(number),
    )


def test_a_transition_of_one_step_tells_of_one_action():
    batch = single()
    told = multistep(batch, ONE_STEP)
    assert torch.equal(told.action_sequences[:, 0], batch.actions)
    assert told.action_sequences.shape == (4, 1, 2)
    assert told.later_observations is batch.next_observations
    assert told.is_whole.all()
    assert multistep(told, BatchSteps(num_actions=1)) is told


def test_more_steps_than_were_drawn_are_refused():
    with pytest.raises(TypeError, match=r"must reach over BatchSteps\(num_rewards=3"):
        multistep(single(), BatchSteps(num_rewards=3))


def test_every_observation_is_seen_through_the_view():
    batch = single()
    for one in (batch, multistep(batch, ONE_STEP)):
        seen = one.seen_through(lambda observations: 2 * observations)
        assert type(seen) is type(one)
        assert torch.equal(seen.observations, 2 * batch.observations)
        assert torch.equal(seen.next_observations, 2 * batch.next_observations)
        assert torch.equal(seen.rewards, batch.rewards)
    assert torch.equal(seen.later_observations, 2 * batch.next_observations)


def test_the_longer_of_both_counts():
    assert ONE_STEP.length == 1
    assert BatchSteps(num_rewards=3, num_actions=2).length == 3
    assert BatchSteps(num_rewards=1, num_actions=5).length == 5


@pytest.mark.parametrize("field", ["num_rewards", "num_actions"])
def test_steps_must_be_positive(field):
    with pytest.raises(ValueError, match=f"{field} must be at least 1, got 0"):
        BatchSteps(**{field: 0})


def test_discounts_lie_between_0_and_1():
    with pytest.raises(ValueError, match=r"discount must lie in \[0, 1\], got 1.5"):
        BatchSteps(discount=1.5)
