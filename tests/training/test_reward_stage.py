from dataclasses import replace

import pytest
import torch

from pbrl.hindsight import HindsightConfig
from pbrl.pairs import ScoredSegments
from pbrl.pseudo_labels import PseudoLabelConfig
from pbrl.randomness import Generators
from pbrl.reward_learning import RewardLearningConfig
from pbrl.reward_scaling import RewardScalingConfig
from pbrl.rewards import RewardConfig
from pbrl.training import reward_stage as module
from pbrl.training.offline import PURPOSES
from pbrl.training.reward_stage import RewardStage, RewardStageConfig, take_true_rewards
from pbrl.transformer import TransformerConfig
from pbrl.world_model import WorldModelConfig
from tests.training.point_mass import make_data, make_dataset

CONFIG = RewardStageConfig(
    network=RewardConfig(num_members=1, hidden_sizes=(32,)),
    learning=RewardLearningConfig(
        learning_rate=3e-3, batch_size=16, passes=40, target_accuracy=1.0
    ),
    scaling=RewardScalingConfig(kind="z-score"),
)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(module, "PART_STEPS", 30)


def stage(data=None, config=CONFIG):
    dataset, preferences = data or make_data(num_pairs=40)
    return RewardStage(config, dataset, preferences, Generators(0, PURPOSES))


def test_the_reward_is_learned_in_parts_and_written_into_the_dataset():
    made = stage()
    replay, parts = made.dataset.replay, 0
    while not made.is_complete:
        assert not replay.all_rewards().any()
        made.advance()
        parts += 1
    assert parts == 4  # 40 passes of 3 steps, in parts of 30 steps
    assert made.num_steps == made.max_steps == 120
    assert made.metrics["reward/steps"] == 120
    rewards, true = replay.all_rewards(), replay.all_true_rewards()
    correlation = float(torch.corrcoef(torch.stack([rewards, true]))[0, 1])
    assert correlation > 0.6
    assert made.recovery == {"reward/correlation": pytest.approx(correlation, abs=1e-4)}
    assert rewards.mean().item() == pytest.approx(0.0, abs=1e-4)
    assert rewards.std().item() == pytest.approx(1.0, abs=1e-3)


def test_stopped_in_the_middle_it_comes_to_the_same():
    whole, first, second = stage(), stage(), stage()
    while not whole.is_complete:
        whole.advance()
    first.advance()
    second.load_state_dict(first.state_dict())
    second._generator.set_state(first._generator.get_state())
    while not second.is_complete:
        second.advance()
    assert torch.equal(whole.dataset.replay.all_rewards(), second.dataset.replay.all_rewards())


def test_a_complete_one_brings_its_rewards_back():
    made, again = stage(), stage()
    while not made.is_complete:
        made.advance()
    again.load_state_dict(made.state_dict())
    assert again.is_complete
    assert torch.equal(made.dataset.replay.all_rewards(), again.dataset.replay.all_rewards())
    assert again.metrics == made.metrics


def test_it_ends_early_at_the_target_accuracy():
    learning = RewardLearningConfig(
        learning_rate=3e-3, batch_size=16, passes=400, target_accuracy=0.7
    )
    made = stage(config=RewardStageConfig(network=CONFIG.network, learning=learning))
    while not made.is_complete:
        made.advance()
    assert made.num_steps < made.max_steps
    assert made.metrics["reward/accuracy"] > 0.7


def test_pairs_are_drawn_from_scored_segments():
    dataset, preferences = make_data(num_pairs=20)
    index = preferences.segments
    scored = ScoredSegments(index, dataset.replay.gather(index).true_returns())
    made = stage((dataset, scored), RewardStageConfig(num_pairs=64, learning=CONFIG.learning))
    assert made.max_steps == 40 * 4


def test_true_rewards_are_taken_and_scaled():
    dataset = make_dataset(num_episodes=4)
    take_true_rewards(dataset, RewardScalingConfig(shift=10.0))
    replay = dataset.replay
    torch.testing.assert_close(replay.all_rewards(), replay.all_true_rewards() + 10)
    replay.all_true_rewards().zero_()
    with pytest.raises(ValueError, match="point-mass holds no reward"):
        take_true_rewards(dataset, RewardScalingConfig())
    replay.all_true_rewards().fill_(1.5)
    with pytest.raises(ValueError, match="all 200 steps of point-mass are 1.5: nothing is left"):
        take_true_rewards(dataset, RewardScalingConfig(kind="z-score"))


def test_impossible_configurations_are_refused():
    with pytest.raises(ValueError, match="num_pairs must be at least 1"):
        RewardStageConfig(num_pairs=0)
    with pytest.raises(ValueError, match="validation_share 0"):
        RewardStageConfig(learning=RewardLearningConfig(validation_share=0.1))


def test_a_prior_s_world_model_learns_first_and_can_be_stopped():
    world = WorldModelConfig(
        transformer=TransformerConfig(width=8, num_layers=1, num_heads=1),
        batch_size=4,
        initial_updates=50,
    )
    hindsight = HindsightConfig(world=world)
    learning = replace(CONFIG.learning, passes=4, hindsight=hindsight)
    config = replace(CONFIG, learning=learning)
    whole, first, second = (stage(config=config) for _ in range(3))
    while not whole.is_complete:
        whole.advance()
    first.advance()
    assert first.metrics["world/updates"] == 30
    assert first.num_steps == 0
    second.load_state_dict(first.state_dict())
    second._generator.set_state(first._generator.get_state())
    while not second.is_complete:
        second.advance()
    assert torch.equal(whole.dataset.replay.all_rewards(), second.dataset.replay.all_rewards())
    assert whole.metrics == second.metrics
    assert whole.metrics["world/updates"] == 50
    with pytest.raises(ValueError, match="hindsight and bootstrap_share are for an ensemble"):
        replace(config, model="preference-transformer")


def test_pairs_without_a_label_are_drawn_again_where_a_fit_goes_on():
    pairs = PseudoLabelConfig(threshold=0.6, batch_ratio=1, pool_ratio=2)
    config = replace(CONFIG, learning=replace(CONFIG.learning, passes=4, pseudo_labels=pairs))
    whole, first, second = (stage(config=config) for _ in range(3))
    while not whole.is_complete:
        whole.advance()
    first.advance()
    second.load_state_dict(first.state_dict())
    second._generator.set_state(first._generator.get_state())
    while not second.is_complete:
        second.advance()
    assert torch.equal(whole.dataset.replay.all_rewards(), second.dataset.replay.all_rewards())
    with pytest.raises(ValueError, match="pseudo_labels, hindsight and bootstrap_share are for"):
        replace(config, model="preference-transformer")
