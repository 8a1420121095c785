import pytest
import torch

from pbrl.crops import draw_crops
from pbrl.training.presets import make_config


@pytest.mark.parametrize(
    ("task", "pool_ratio", "steps"),
    [
        ("dmc/walker-walk", 100, {10: 79, 100: 782, 1000: 7813}),
        ("metaworld/hammer-v3", 10, {10: 2, 100: 16, 1000: 157}),
    ],
)
def test_numbers_of_the_scripts(task, pool_ratio, steps):
    config = make_config(task, "surf", preset="paper")
    assert config.agent == "surf"
    learning = config.preferences.learning
    assert {number: learning.num_steps(number) for number in steps} == steps
    assert learning.target_accuracy == 1.0  # no early stop
    pairs = learning.pseudo_labels
    assert (pairs.threshold, pairs.weight, pairs.batch_ratio) == (0.99, 1.0, 4)
    assert pairs.pool_ratio == pool_ratio
    assert config.preferences.reward.num_members == 3
    assert config.preferences.sampler.score == "disagreement"  # feed_type=1
    assert config.preferences.sampler.pool == 100
    assert not config.preferences.reward.normalize_observations


def test_crops_have_45_to_55_of_60_steps():
    preferences = make_config("dmc/walker-walk", "surf", preset="ppe").preferences
    assert preferences.sampler.segment_length == 60
    lengths = torch.full((500, 2), 60)
    crops = draw_crops(preferences.learning.crops, lengths, torch.Generator().manual_seed(0))
    sizes = crops.end - crops.start
    assert sizes.shape == (500, 2, 1)
    assert torch.equal(sizes[:, 0], sizes[:, 1])
    assert set(sizes.flatten().tolist()) == set(range(45, 56))


def test_on_two_cores_the_effort_is_that_of_the_others():
    surf, pebble = (
        make_config("gym/Pendulum-v1", agent).preferences for agent in ("surf", "pebble")
    )
    assert surf.learning.steps_per_label == pebble.learning.steps_per_label
    assert surf.learning.pseudo_labels.pool_ratio == 10
    assert surf.sampler.segment_length == 30


def test_a_prior_goes_on_top():
    made = make_config("dmc/walker-walk", "surf-hindsight-prior", preset="paper")
    assert made.agent == "surf-hindsight-prior"
    assert made.preferences.learning.hindsight is not None
    assert made.preferences.learning.pseudo_labels is not None
