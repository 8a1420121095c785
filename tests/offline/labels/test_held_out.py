from dataclasses import replace

import pytest
import torch

from pbrl.feedback import LabelledQueries
from pbrl.offline.labels.held_out import (
    HeldOutConfig,
    held_out_accuracy,
    split_preferences,
)
from pbrl.pairs import LabelledPairs, ScoredSegments
from pbrl.reward_learning import RewardLearningConfig
from pbrl.rewards import RewardConfig
from pbrl.segments import SegmentIndex
from tests.offline.labels.builders import make_dataset

SMALL = HeldOutConfig(
    splits=2,
    reward=RewardConfig(num_members=1, hidden_sizes=(16,), normalize_observations=True),
    learning=RewardLearningConfig(passes=25, learning_rate=2e-2),
)

FAST = replace(SMALL, learning=RewardLearningConfig(passes=1))


@pytest.fixture(scope="module")
def replay():
    return make_dataset(lengths=(5,) * 120).replay


def preferences(replay, labels=None, num=60) -> LabelledPairs:
    """Pairs of whole episodes; by default the one of larger first observations is preferred."""
    episode = torch.arange(2 * num).reshape(num, 2)
    index = SegmentIndex(episode, torch.zeros_like(episode), torch.full_like(episode, 5))
    sums = replay.gather(index).observations[..., 0].sum(-1)
    labels = (sums[:, 1] > sums[:, 0]).float() if labels is None else labels
    return LabelledPairs(LabelledQueries(index, labels, torch.ones(num)))


def run(preferences, replay, config=SMALL, seed=0):
    return held_out_accuracy(preferences, replay, config, torch.Generator().manual_seed(seed))


def test_labels_that_follow_a_reward_are_predicted_and_random_ones_are_not(replay):
    learned = run(preferences(replay), replay)
    generator = torch.Generator().manual_seed(1)
    chance = run(preferences(replay, torch.randint(2, (60,), generator=generator).float()), replay)
    assert learned.mean > 0.8
    assert chance.mean < 0.75
    assert chance.training > chance.mean
    assert len(learned.accuracies) == 2
    assert learned.held_out == 12.0


def test_the_same_seed_gives_the_same_numbers_and_progress_is_told(replay):
    done = []
    pairs = preferences(replay)
    first = held_out_accuracy(pairs, replay, FAST, torch.Generator().manual_seed(5), done.append)
    assert done == [1, 2]
    assert run(pairs, replay, FAST, 5) == first
    assert run(pairs, replay, FAST, 6) != first


def test_answers_to_one_pair_stay_together_in_either_order():
    episode = torch.tensor([[0, 1], [1, 0], [2, 3], [4, 5], [6, 7], [0, 1]])
    index = SegmentIndex(episode, torch.zeros_like(episode), torch.ones_like(episode))
    pairs = LabelledPairs(LabelledQueries(index, torch.rand(6), torch.ones(6)))
    for seed in range(20):
        training, test = split_preferences(pairs, 0.25, torch.Generator().manual_seed(seed))
        sides = [
            {tuple(sorted(pair)) for pair in part.index.episode.tolist()}
            for part in (training, test)
        ]
        assert not sides[0] & sides[1]
        assert len(sides[1]) == 1
        assert len(training) + len(test) == 6


def test_every_pair_is_held_out_equally_often():
    episode = torch.arange(20).reshape(10, 2)
    index = SegmentIndex(episode, torch.zeros_like(episode), torch.ones_like(episode))
    pairs = LabelledPairs(LabelledQueries(index, torch.rand(10), torch.ones(10)))
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(10)
    for _ in range(500):
        counts[split_preferences(pairs, 0.2, generator)[1].index.episode[:, 0] // 2] += 1
    assert counts.sum() == 1000
    assert counts.min() > 65
    assert counts.max() < 135


def test_of_scored_segments_the_segments_are_held_out(replay):
    episode = torch.arange(60)
    index = SegmentIndex(episode, torch.zeros_like(episode), torch.full_like(episode, 5))
    scored = ScoredSegments(index, replay.gather(index).observations[..., 0].sum(-1))
    training, test = split_preferences(scored, 0.2, torch.Generator().manual_seed(0))
    assert (len(training), len(test)) == (4 * 48, 4 * 12)
    assert not set(training.index.episode.flatten().tolist()) & set(
        test.index.episode.flatten().tolist()
    )
    assert run(scored, replay).mean > 0.8


def test_the_majority_is_what_always_naming_one_side_comes_to(replay):
    labels = torch.ones(60)
    labels[:6] = 0.0
    outcome = run(preferences(replay, labels), replay, FAST)
    assert outcome.majority == pytest.approx(0.9, abs=0.1)


def test_ties_are_not_judged(replay):
    labels = torch.full((60,), 0.5)
    labels[::3] = 1.0
    assert 0 < run(preferences(replay, labels), replay, FAST).held_out < 9
    with pytest.raises(ValueError, match="is a tie: there is nothing to judge"):
        run(preferences(replay, torch.full((60,), 0.5)), replay)


def test_one_pair_cannot_be_split(replay):
    with pytest.raises(
        ValueError, match="cannot hold out a part of 1 pairs or segments: there must be 2"
    ):
        run(preferences(replay, num=1), replay)


@pytest.mark.parametrize("changes", [{"splits": 0}, {"test_share": 0.0}, {"test_share": 1.0}])
def test_impossible_settings_are_refused(changes):
    with pytest.raises(ValueError, match="splits must be at least 1 and test_share lie in"):
        HeldOutConfig(**changes)
