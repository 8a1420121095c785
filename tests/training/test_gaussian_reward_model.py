from dataclasses import replace

import pytest
import torch

from pbrl.gaussian_reward import GaussianRewardConfig
from pbrl.pairs import LabelledPairs
from pbrl.randomness import Generators
from pbrl.reward_learning import RewardLearningConfig
from pbrl.training.offline import PURPOSES
from pbrl.training.reward_stage import RewardStage, RewardStageConfig
from tests.training.point_mass import make_data

CONFIG = RewardStageConfig(
    model="gaussian",
    gaussian=GaussianRewardConfig(hidden_sizes=(32,), num_samples=4),
    learning=RewardLearningConfig(
        learning_rate=1e-2, batch_size=20, passes=40, target_accuracy=1.0
    ),
)


def stage(config=CONFIG, soften=0.2):
    dataset, preferences = make_data(num_pairs=60)
    labelled = preferences.labelled
    softened = replace(labelled, labels=labelled.labels * (1 - 2 * soften) + soften)
    return RewardStage(config, dataset, LabelledPairs(softened), Generators(0, PURPOSES))


def finished(made):
    while not made.is_complete:
        made.advance()
    return made


def test_soft_labels_teach_the_mean_reward():
    made = finished(stage())
    replay = made.dataset.replay
    both = torch.stack([replay.all_rewards(), replay.all_true_rewards()])
    assert torch.corrcoef(both)[0, 1] > 0.6
    segments = replay.gather(made._labelled.index)
    returns = made.segment_scores(segments)
    assert returns.shape == (60, 2)
    right = (returns[:, 1] > returns[:, 0]) == (made._labelled.labels > 0.5)
    assert right.float().mean() > 0.8


def test_the_hinge_holds_the_uncertainty():
    free, held = (
        finished(
            stage(replace(CONFIG, gaussian=replace(CONFIG.gaussian, uncertainty_weight=weight)))
        )
        for weight in (0.0, 1.0)
    )
    assert held.metrics["reward/std"] > 1.2 * free.metrics["reward/std"]
    assert held.metrics["reward/std"] > 0.2


def test_stopped_in_the_middle_it_comes_to_the_same(monkeypatch):
    monkeypatch.setattr("pbrl.training.reward_stage.PART_STEPS", 30)
    whole, first, second = stage(), stage(), stage()
    first.advance()
    assert not first.is_complete
    second.load_state_dict(first.state_dict())
    second._generator.set_state(first._generator.get_state())
    one, other = (finished(made).dataset.replay.all_rewards() for made in (whole, second))
    assert torch.equal(one, other)


def test_means_over_a_segment_are_refused():
    learning = replace(CONFIG.learning, score="mean")
    with pytest.raises(ValueError, match="learning.score must be \"sum\" .* got 'mean'"):
        replace(CONFIG, learning=learning)
