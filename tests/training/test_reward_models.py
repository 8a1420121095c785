import dataclasses

import pytest
import torch

from pbrl.crops import CropConfig
from pbrl.offline.steps import dataset_steps
from pbrl.preference_transformer import PreferenceTransformerConfig
from pbrl.randomness import Generators
from pbrl.reward_learning import RewardLearningConfig
from pbrl.rewards import RewardConfig
from pbrl.training import reward_stage
from pbrl.training.offline import PURPOSES
from pbrl.training.reward_models import transformer_rate
from pbrl.training.reward_stage import RewardStage, RewardStageConfig
from pbrl.transformer import TransformerConfig
from tests.training.point_mass import make_data

TRANSFORMER = RewardStageConfig(
    model="preference-transformer",
    transformer=PreferenceTransformerConfig(
        transformer=TransformerConfig(width=16, num_layers=1, num_heads=2), num_timesteps=20
    ),
    learning=RewardLearningConfig(
        learning_rate=1e-2, batch_size=16, passes=30, target_accuracy=1.0
    ),
)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(reward_stage, "PART_STEPS", 30)


def stage(config=TRANSFORMER, num_pairs=40, seed=0):
    dataset, preferences = make_data(num_pairs=num_pairs)
    return RewardStage(config, dataset, preferences, Generators(seed, PURPOSES))


def completed(made):
    while not made.is_complete:
        made.advance()
    return made


def test_a_transformer_learns_the_reward_from_the_labels():
    made = completed(stage(num_pairs=100))
    rewards = made.dataset.replay.all_rewards()
    assert rewards.isfinite().all()
    true = made.dataset.replay.all_true_rewards()
    assert torch.corrcoef(torch.stack([rewards, true]))[0, 1] > 0.5
    assert made.metrics["reward/accuracy"] > 0.8
    segments = made.dataset.replay.gather(made._labelled.index)
    is_second = made.segment_scores(segments).diff(dim=1)[:, 0] > 0
    assert (is_second == (made._labelled.labels > 0.5)).float().mean() > 0.8


def test_the_reward_of_a_step_is_that_of_the_last_of_its_window():
    made = completed(stage())
    replay, network = made.dataset.replay, made.model.network.eval()
    (rewards,) = made.model.step_rewards(replay)
    steps = dataset_steps(replay)
    for row, first in ((0, 0), (9, 0), (14, 0), (30, 16), (52, 50)):  # windows of 15 steps
        part = slice(first, row + 1)
        mask = torch.ones(1, row + 1 - first, dtype=torch.bool)
        expected = network(steps.observations[None, part], steps.actions[None, part], mask)
        torch.testing.assert_close(rewards[row], expected[0, -1], atol=1e-5, rtol=1e-4)


def test_stopped_in_the_middle_it_comes_to_the_same():
    whole, first, second = completed(stage()), stage(), stage(seed=1)
    first.advance()
    second.load_state_dict(first.state_dict())
    second._generator.set_state(first._generator.get_state())
    completed(second)
    assert torch.equal(whole.dataset.replay.all_rewards(), second.dataset.replay.all_rewards())
    again = stage(seed=2)
    again.load_state_dict(whole.state_dict())
    assert torch.equal(whole.dataset.replay.all_rewards(), again.dataset.replay.all_rewards())


def test_the_rate_rises_and_falls_as_in_the_released_code():
    learning = RewardLearningConfig(learning_rate=1e-3, batch_size=256, passes=10_000)
    rate = transformer_rate(PreferenceTransformerConfig(), learning, 500)
    assert learning.num_steps(500) == 20_000
    assert rate.at(0) == pytest.approx(1e-4, rel=1e-2)
    assert rate.at(1_999) == pytest.approx(1e-3)
    assert rate.at(11_000) == pytest.approx(5.5e-4)
    assert rate.at(20_000) == pytest.approx(1e-4)


def test_members_are_joined_as_configured():
    network = RewardConfig(num_members=3, hidden_sizes=(16,))
    learning = RewardLearningConfig(batch_size=16, passes=5)
    plain = RewardStageConfig(network=network, learning=learning)
    mean = completed(stage(plain)).dataset.replay.all_rewards()
    standardized = completed(stage(dataclasses.replace(plain, members="standardized")))
    rewards = standardized.dataset.replay.all_rewards()
    assert rewards.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert 0.0 < rewards.std().item() <= 1.0
    assert not torch.allclose(rewards, mean)


@pytest.mark.parametrize("model", ["preference-transformer", "gaussian"])
def test_a_single_network_is_standardised_as_members_are(model):
    learning = dataclasses.replace(TRANSFORMER.learning, passes=3)
    plain = dataclasses.replace(TRANSFORMER, model=model, learning=learning)
    given = completed(stage(plain)).dataset.replay.all_rewards()
    standardized = completed(stage(dataclasses.replace(plain, members="standardized")))
    rewards = standardized.dataset.replay.all_rewards()
    expected = (given - given.mean()) / given.std(correction=0)
    torch.testing.assert_close(rewards, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(rewards, given, atol=0.1)


def test_members_may_be_normalised_before_their_mean_is_taken():
    network = RewardConfig(num_members=2, hidden_sizes=(8,), normalize_rewards=True)
    learning = RewardLearningConfig(batch_size=16, passes=2)
    made = completed(stage(RewardStageConfig(network=network, learning=learning)))
    steps = dataset_steps(made.dataset.replay)
    expected = made.model.ensemble.mean_reward(steps.observations, steps.actions)
    torch.testing.assert_close(made.dataset.replay.all_rewards(), expected, atol=1e-5, rtol=1e-4)


def test_what_a_transformer_cannot_do_is_refused():
    learning = dataclasses.replace(TRANSFORMER.learning, crops=CropConfig(min_cut=1, max_cut=2))
    with pytest.raises(ValueError, match="for an ensemble, and the model is 'preference-trans"):
        dataclasses.replace(TRANSFORMER, learning=learning)
    short = dataclasses.replace(TRANSFORMER.transformer, num_timesteps=10)
    with pytest.raises(ValueError, match="up to 15 steps, and num_timesteps of the reward is 10"):
        stage(dataclasses.replace(TRANSFORMER, transformer=short))
