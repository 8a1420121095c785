import copy

import pytest
import torch

from pbrl.encoders import EncoderConfig
from pbrl.feedback import LabelledQueries
from pbrl.replay import ReplayBuffer
from pbrl.reward_codes import RewardCodesConfig, RewardCodesLearner
from pbrl.reward_learning import RewardLearner, RewardLearningConfig
from pbrl.rewards import RewardConfig, RewardEnsemble
from pbrl.state_codes import StateCodesConfig
from pbrl.taco import TacoConfig, token_size

CODES = RewardCodesConfig(
    codes=StateCodesConfig(
        hidden_sizes=(16,), taco=TacoConfig(num_features=8, hidden_size=16, reward=False)
    ),
    batch_size=16,
    initial_updates=3,
    session_updates=2,
)


def filled(num_episodes=6, length=20):
    draws = torch.Generator().manual_seed(0)
    number = num_episodes * length
    observations = torch.randn(number, 4, generator=draws)
    return ReplayBuffer.from_episodes(
        observations=observations,
        actions=2 * torch.rand(number, 2, generator=draws) - 1,
        true_rewards=observations[:, 0],
        last_observations=torch.randn(num_episodes, 4, generator=draws),
        lengths=torch.full((num_episodes,), length),
        terminated=torch.zeros(num_episodes, dtype=torch.bool),
    )


def labels(replay, number=30):
    draws = torch.Generator().manual_seed(1)
    index = replay.sample_segments(2 * number, 5, draws).reshape(number, 2)
    returns = replay.gather(index).true_returns()
    answers = (returns[:, 1] > returns[:, 0]).float()
    return LabelledQueries(index, answers, torch.ones(number))


def make(codes=CODES, seed=0, **config):
    config = RewardConfig(hidden_sizes=(16,), codes=codes, **config)
    draws = torch.Generator().manual_seed(seed)
    ensemble = RewardEnsemble(config, 4, 2, generator=draws)
    return RewardLearner(RewardLearningConfig(passes=5, learning_rate=3e-3), ensemble, draws)


def test_the_ensemble_sees_codes():
    ensemble = make().ensemble
    assert ensemble.network.num_inputs == 16 + token_size(2)
    inputs = ensemble.inputs(torch.randn(3, 5, 4), torch.rand(3, 5, 2))
    assert inputs.shape == (3, 5, 16 + token_size(2))
    assert not inputs.requires_grad
    assert ensemble(torch.randn(3, 4), torch.rand(3, 2)).shape == (3, 3)


@pytest.mark.parametrize("normalize", [False, True])
def test_codes_are_learned_before_the_labels_and_not_from_them(normalize):
    learner, replay = make(normalize_observations=normalize), filled()
    before = copy.deepcopy(learner.ensemble.codes.state_dict())
    alone = make(normalize_observations=normalize)
    alone._refresh_observation_moments(replay)
    alone.codes.fit(replay, alone.ensemble.standardized)
    metrics = learner.fit(labels(replay), replay, torch.Generator().manual_seed(0))
    assert metrics["codes/updates"] == 3
    assert metrics["codes/loss"] > 0
    after = learner.ensemble.codes.state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in after.items())
    expected = alone.ensemble.codes.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in after.items())


def test_later_sessions_go_on_where_the_buffer_has_grown():
    learner, replay = make(), ReplayBuffer(100, 4, 2)
    draws = torch.Generator().manual_seed(0)

    def add(number):
        for step in range(number):
            state, ended = torch.randn(1, 4, generator=draws), torch.tensor([step == number - 1])
            paid, no = torch.ones(1), torch.zeros(1).bool()
            replay.add(state, torch.rand(1, 2), paid, paid, state + 1, no, ended)

    add(20)
    view = learner.ensemble.standardized
    assert learner.codes.fit(replay, view)["codes/updates"] == 3
    assert learner.codes.fit(replay, view) == {}
    add(20)
    assert learner.codes.fit(replay, view)["codes/updates"] == 5


def test_a_reward_is_learned_from_codes():
    codes = RewardCodesConfig(codes=StateCodesConfig(hidden_sizes=(32,)), initial_updates=50)
    learner, replay = make(codes), filled()
    learner.config = RewardLearningConfig(passes=200, target_accuracy=1.0)
    metrics = learner.fit(labels(replay), replay, torch.Generator().manual_seed(0))
    assert metrics["reward/accuracy"] > 0.9


def test_the_rest_draws_the_same_numbers_with_and_without_codes():
    """The codes' batches come from a stream of their own."""
    learner = make()
    draws = torch.Generator().manual_seed(3)
    before = draws.get_state()
    RewardCodesLearner(CODES, learner.ensemble.codes, generator=draws)
    once = torch.Generator()
    once.set_state(before)
    torch.randint(2**31, (), generator=once)
    assert torch.equal(draws.get_state(), once.get_state())


def test_a_restored_learner_goes_on_bit_for_bit():
    learner, other, replay = make(), make(seed=4), filled()
    learner.fit(labels(replay), replay, torch.Generator().manual_seed(0))
    other.load_state_dict(copy.deepcopy(learner.state_dict()))
    for one in (learner, other):
        one.codes.steps_seen = 1  # as if the buffer had grown
        one.ensemble.codes.taco._generator.manual_seed(0)
        one.fit(labels(replay), replay, torch.Generator().manual_seed(1))
    states, actions = torch.randn(9, 4), torch.rand(9, 2)
    assert torch.equal(*(one.ensemble(states, actions) for one in (learner, other)))


def test_images_have_no_such_codes():
    with pytest.raises(ValueError, match="codes must be None with an encoder of images"):
        RewardConfig(encoder=EncoderConfig(), codes=CODES)


def test_a_learner_without_a_generator_says_so():
    ensemble = make().ensemble
    with pytest.raises(ValueError, match="codes need a generator"):
        RewardLearner(RewardLearningConfig(), ensemble)


@pytest.mark.parametrize(("field", "value"), [("batch_size", 1), ("initial_updates", -1)])
def test_impossible_numbers(field, value):
    with pytest.raises(ValueError, match=f"{field} must be"):
        RewardCodesConfig(**{field: value})
