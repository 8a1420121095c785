from dataclasses import replace

import pytest
import torch

from pbrl.feedback import LabelledQueries
from pbrl.pairs import LabelledPairs, ScoredSegments
from pbrl.segments import SegmentIndex
from pbrl.training.label_controls import hold_out, spoilt


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pairs(number=40):
    episode = torch.arange(2 * number).view(number, 2)
    index = SegmentIndex(episode, torch.zeros_like(episode), torch.full_like(episode, 5))
    labels = torch.linspace(0, 1, number)
    return LabelledPairs(LabelledQueries(index, labels, torch.ones(number)))


def scored(number=40):
    episode = torch.arange(number)
    index = SegmentIndex(episode, torch.zeros_like(episode), torch.full_like(episode, 5))
    return ScoredSegments(index, torch.arange(float(number)))


def test_no_control_leaves_them():
    given = pairs()
    assert spoilt(given, "none", generator()) is given


def test_flipped_labels_and_scores_turn_every_preference_round():
    given = pairs()
    flipped = spoilt(given, "flipped-labels", generator()).labelled
    torch.testing.assert_close(flipped.labels, 1 - given.labelled.labels)
    assert torch.equal(flipped.index.episode, given.labelled.index.episode)
    before = scored().draw(30, generator())
    after = spoilt(scored(), "flipped-labels", generator()).draw(30, generator())
    torch.testing.assert_close(after.labels, 1 - before.labels)


def test_shuffled_labels_and_scores_are_the_same_ones_elsewhere():
    given = pairs()
    shuffled = spoilt(given, "shuffled-labels", generator()).labelled.labels
    assert not torch.equal(shuffled, given.labelled.labels)
    torch.testing.assert_close(shuffled.sort().values, given.labelled.labels)
    scores = spoilt(scored(), "shuffled-labels", generator()).scores
    assert not torch.equal(scores, scored().scores)
    torch.testing.assert_close(scores.sort().values, scored().scores)


def test_a_share_of_the_pairs_is_held_out():
    training, held_out = hold_out(pairs(), 0.25, generator())
    assert (len(training), len(held_out)) == (30, 10)
    both = torch.cat([training.labelled.index.episode, held_out.index.episode])
    assert both[:, 0].sort().values.tolist() == list(range(0, 80, 2))


def test_of_scored_segments_no_segment_is_on_both_sides():
    training, held_out = hold_out(scored(), 0.25, generator())
    assert len(training) == 30
    seen = set(training.segments.episode.tolist())
    judged = set(held_out.index.episode.flatten().tolist())
    assert not seen & judged
    assert seen | judged == set(range(40))
    assert ((held_out.index.episode.diff()[:, 0] > 0).float() == held_out.labels).all()


def test_nothing_is_held_out_unless_asked_for():
    given = pairs()
    assert hold_out(given, 0.0, generator()) == (given, None)


def test_the_same_seed_holds_out_the_same_pairs():
    first, second = (hold_out(pairs(), 0.5, generator(3))[1] for _ in range(2))
    assert torch.equal(first.labels, second.labels)


def test_ties_alone_are_not_held_out():
    labelled = pairs(4).labelled
    held_out = []
    for row in range(4):  # one of the four pairs is decided, and one is held out
        labels = torch.where(torch.arange(4) == row, 1.0, 0.5)
        given = LabelledPairs(replace(labelled, labels=labels))
        try:
            held_out.append(hold_out(given, 0.25, generator())[1].labels.tolist())
        except ValueError as error:
            assert "0.25 of 4 preferences holds out are all ties" in str(error)  # noqa: PT017
    assert held_out == [[1.0]]


def test_too_few_and_unknown_preferences_are_refused():
    with pytest.raises(ValueError, match="0.01 of 40 preferences leaves too few"):
        hold_out(pairs(), 0.01, generator())
    with pytest.raises(ValueError, match="leaves too few"):
        hold_out(scored(4), 0.3, generator())

    class Ranking:
        segments = scored().segments
        draw = scored().draw

    with pytest.raises(TypeError, match="Ranking"):
        spoilt(Ranking(), "flipped-labels", generator())
    with pytest.raises(TypeError, match="Ranking"):
        hold_out(Ranking(), 0.5, generator())
