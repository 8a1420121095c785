import copy

import pytest
import torch

from pbrl.batches import BatchSteps, MultiStepBatch
from pbrl.replay import ReplayBuffer
from pbrl.state_codes import Codes, PlainCodes, StateCodesConfig, make_codes
from pbrl.taco import TacoConfig
from tests.multi_step_batches import multi_step_batch

SMALL = StateCodesConfig(
    hidden_sizes=(16, 12),
    learning_rate=1e-3,
    taco=TacoConfig(num_features=8, hidden_size=16, reward=False, noise=0.03),
)


def make(config=SMALL, seed=0):
    return make_codes(config, 5, 2, generator=torch.Generator().manual_seed(seed))


def batch(number=16, steps=3, seed=0):
    is_whole = torch.arange(number) % 4 != 0
    return multi_step_batch((5, 2), number=number, steps=steps, seed=seed, is_whole=is_whole)


def test_both_kinds_are_codes():
    plain, codes = make(None), make()
    assert isinstance(plain, Codes)
    assert isinstance(codes, Codes)
    assert (plain.num_state_features, plain.num_action_features) == (5, 2)
    assert (codes.num_state_features, codes.num_action_features) == (12, 3)
    assert codes.batch_steps == BatchSteps(num_actions=3)


def test_plain_codes_are_what_is_given_and_learn_nothing():
    plain = PlainCodes(5, 2)
    states = torch.randn(4, 5)
    assert plain.encode_states(states) is states
    assert plain.encode_actions(states) is states
    assert plain.learn(batch()) == {}
    assert plain.encoders() == []
    assert not plain.parts()


def test_codes_have_any_batch_shape_and_stay_between_minus_1_and_1():
    codes = make()
    assert codes.encode_states(torch.randn(4, 7, 5)).shape == (4, 7, 12)
    assert codes.encode_actions(torch.randn(4, 7, 2)).shape == (4, 7, 3)
    assert codes.encode_states(100 * torch.randn(50, 5)).abs().max() <= 1


def test_learning_reaches_every_parameter_of_the_objective_s_part():
    codes = make()
    before = copy.deepcopy(codes.taco.state_dict())
    metrics = codes.learn(batch())
    assert set(metrics) == {"codes_loss"}
    for name, value in codes.taco.state_dict().items():
        if name.endswith("weight") and not name.startswith("reward_head"):
            assert not torch.equal(value, before[name]), name


def test_windows_that_are_cut_off_do_not_count():
    one, other = make(), make()
    given = batch()
    spoilt = given.action_sequences.clone()
    spoilt[::4] = 0.0  # the others' actions are as they were
    one.learn(given)
    other.learn(MultiStepBatch(**(vars(given) | {"action_sequences": spoilt})))
    states = torch.randn(10, 5)
    torch.testing.assert_close(one.encode_states(states), other.encode_states(states))


def test_transitions_of_one_step_serve_where_one_action_is_told():
    config = StateCodesConfig(hidden_sizes=(8,), taco=TacoConfig(num_actions=1, num_features=4))
    replay = ReplayBuffer(50, 5, 2)
    for _ in range(20):
        state, action, ended = torch.randn(1, 5), torch.rand(1, 2), torch.zeros(1).bool()
        replay.add(state, action, torch.ones(1), torch.ones(1), state + 1, ended, ended)
    codes = make(config)
    drawn = replay.sample(8, torch.Generator().manual_seed(0), steps=codes.batch_steps)
    assert codes.learn(drawn)["codes_loss"].isfinite()
    with pytest.raises(TypeError, match="must reach over BatchSteps"):
        make().learn(drawn)


def test_dynamics_are_learned_from_a_replay():
    """Windows of a replay are in time: the loss falls far below that of chance, ln 64."""
    draws = torch.Generator().manual_seed(0)
    turn = 0.95 * torch.linalg.qr(torch.randn(5, 5, generator=draws)).Q
    push = torch.randn(2, 5, generator=draws)
    replay = ReplayBuffer(4_000, 5, 2, num_envs=40)
    state = torch.randn(40, 5, generator=draws)
    for number in range(100):
        action = 2 * torch.rand(40, 2, generator=draws) - 1
        following = state @ turn.T + action @ push + 0.02 * torch.randn(40, 5, generator=draws)
        ended = torch.full((40,), number % 20 == 19)
        paid = torch.zeros(40)
        replay.add(state, action, paid, paid, following, torch.zeros(40).bool(), ended)
        state = torch.randn(40, 5, generator=draws) if ended[0] else following
    config = StateCodesConfig(
        hidden_sizes=(64, 64),
        learning_rate=1e-3,
        taco=TacoConfig(hidden_size=64, reward=False, curl=False),
    )
    codes = make(config)
    for _ in range(200):
        drawn = replay.sample(64, draws, steps=codes.batch_steps)
        loss = codes.learn(drawn)["codes_loss"]
    assert loss < 1.0


def test_a_restored_objective_learns_on_bit_for_bit():
    codes = make()
    codes.learn(batch())
    other = make(seed=3)
    for name, part in other.parts().items():
        part.load_state_dict(copy.deepcopy(codes.parts()[name].state_dict()))
    for one, seed in ((codes, 5), (other, 5)):
        one.taco._generator.manual_seed(seed)
        one.learn(batch(seed=1))
    states = torch.randn(10, 5)
    assert torch.equal(codes.encode_states(states), other.encode_states(states))


@pytest.mark.parametrize(("field", "value"), [("hidden_sizes", ()), ("learning_rate", 0.0)])
def test_impossible_numbers(field, value):
    with pytest.raises(ValueError, match=f"{field} must be"):
        StateCodesConfig(**{field: value})
