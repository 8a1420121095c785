from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pbrl.batches import BatchSteps
from pbrl.feedback import LabelledQueries
from pbrl.pairs import LabelledPairs, OfflineBatchSizes, ScoredSegments
from pbrl.randomness import Generators
from pbrl.segments import SegmentIndex
from pbrl.training.offline import PURPOSES
from pbrl.training.offline_batches import OfflineSampler, best_episodes, cut
from pbrl.windows import WindowSizes
from tests.agents import tape
from tests.training.point_mass import STEPS, make_data, make_dataset


def index_of(lengths, start=5):
    length = torch.tensor(lengths)
    return SegmentIndex(torch.zeros_like(length), torch.full_like(length, start), length)


def sampler(data=None, seed=0, **changes):
    data = data or make_data(num_pairs=20)
    return OfflineSampler(*data, Generators(seed, PURPOSES), **changes)


def test_every_window_is_reached_equally_often_and_is_the_same_for_the_batch():
    generator = torch.Generator().manual_seed(0)
    starts = []
    for _ in range(1000):
        windows = cut(index_of([[10, 10], [10, 10]]), 7, generator)
        assert windows.length.unique().tolist() == [7]
        assert len(windows.start.unique()) == 1
        starts.append(int(windows.start[0, 0]))
    counts = torch.tensor(starts).bincount(minlength=9)
    assert counts[:5].sum() == 0
    assert counts[5:].min() > 190  # four places: 5 to 8
    assert len(counts) == 9


@settings(max_examples=50)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.integers(1, 45),
    st.integers(0, 1000),
)
def test_windows_stay_inside_their_segments(lengths, steps, seed):
    index = index_of(lengths)
    windows = cut(index, steps, torch.Generator().manual_seed(seed))
    assert (windows.start >= index.start).all()
    assert (windows.start + windows.length <= index.start + index.length).all()
    assert windows.length.tolist() == [min(steps, length) for length in lengths]


def test_whole_segments_are_left_alone():
    index = index_of([3, 4])
    assert cut(index, None, torch.Generator()) is index


def test_a_batch_holds_what_was_asked_for():
    batch = sampler().draw(OfflineBatchSizes(pairs=3, transitions=4, segment_steps=6))
    assert batch.pairs.segments.observations.shape == (3, 2, 6, 2)
    assert len(batch.pairs.labels) == 3
    assert batch.transitions.observations.shape == (4, 2)
    assert batch.lists is None
    assert sampler().draw(OfflineBatchSizes(transitions=4)).pairs is None


def test_labels_belong_to_their_segments():
    data = make_data(num_pairs=20)
    batch = sampler(data).draw(OfflineBatchSizes(pairs=50))
    return_0, return_1 = batch.pairs.segments.true_returns().unbind(-1)
    torch.testing.assert_close(batch.pairs.labels, (return_1 > return_0).float())


def test_lists_are_drawn_from_scored_segments_alone():
    dataset, preferences = make_data(num_pairs=20)
    index = preferences.segments
    scored = ScoredSegments(index, torch.arange(float(len(index))))
    batch = sampler((dataset, scored)).draw(OfflineBatchSizes(lists=2, items=3))
    assert batch.lists.segments.observations.shape == (2, 3, 15, 2)
    assert batch.lists.grades.shape == (2, 3)
    with pytest.raises(ValueError, match="graded lists, and the labels are pairs"):
        sampler().draw(OfflineBatchSizes(lists=2, items=3))


def test_the_last_step_is_drawn_where_its_outcome_is_known_alone():
    last = torch.tensor([STEPS - 1])
    for known in (True, False):
        dataset = make_dataset(num_episodes=2, has_last_observations=known)
        final = dataset.replay.gather(SegmentIndex(last * 0, last, last * 0 + 1)).observations
        drawn = sampler((dataset, None)).draw(OfflineBatchSizes(transitions=2000)).transitions
        assert (drawn.observations == final.flatten()).all(-1).any() == known


def test_observations_are_seen_through_the_view_and_padding_stays_zero():
    dataset, preferences = make_data(num_pairs=20)
    labelled = preferences.labelled
    length = labelled.index.length.clone()
    length[:, 0] = 4
    index = SegmentIndex(labelled.index.episode, labelled.index.start, length)
    uneven = LabelledPairs(type(labelled)(index, labelled.labels, labelled.weights))
    sizes = OfflineBatchSizes(pairs=5, transitions=5)
    plain = sampler((dataset, uneven)).draw(sizes)
    seen = sampler((dataset, uneven), view=lambda observations: observations + 1).draw(sizes)
    mask = plain.pairs.segments.mask[..., None]
    torch.testing.assert_close(
        seen.pairs.segments.observations, (plain.pairs.segments.observations + 1) * mask
    )
    for name in ("observations", "next_observations"):
        expected = getattr(plain.transitions, name) + 1
        torch.testing.assert_close(getattr(seen.transitions, name), expected)


def test_the_best_episodes_are_those_that_go_to_the_goal():
    dataset = make_dataset(num_episodes=40)
    best = best_episodes(dataset, 0.25)
    assert best.tolist() == list(range(0, 40, 4))
    drawn = sampler((dataset, None), episodes=best).draw(OfflineBatchSizes(transitions=500))
    assert drawn.transitions.next_observations[:, 0].mean() > 0.5
    assert best_episodes(dataset, 0.001).shape == (1,)
    dataset.replay.all_true_rewards().zero_()
    with pytest.raises(ValueError, match="point-mass holds no reward"):
        best_episodes(dataset, 0.25)


def test_what_is_missing_is_refused_before_anything_is_drawn():
    with pytest.raises(ValueError, match="give a file of labels"):
        sampler((make_dataset(4), None)).check(OfflineBatchSizes(pairs=1))
    with pytest.raises(ValueError, match="windows of 16 steps, and the longest .* has 15"):
        sampler().check(OfflineBatchSizes(pairs=1, segment_steps=16))
    sampler().check(OfflineBatchSizes(pairs=1, segment_steps=15))
    with pytest.raises(ValueError, match="need at least 16 steps, and the longest has 15"):
        sampler().check(OfflineBatchSizes(pairs=1, least_steps=16))
    sampler().check(OfflineBatchSizes(pairs=1, least_steps=15))


def test_segments_that_reach_further_than_the_places_are_refused():
    index = SegmentIndex(torch.tensor([[0, 1]]), torch.tensor([[0, 25]]), torch.tensor([[15, 10]]))
    labels = LabelledQueries(index, torch.ones(1), torch.ones(1))
    made = sampler((make_dataset(4), LabelledPairs(labels)))

    def check(places, **changes):
        made.check(OfflineBatchSizes(pairs=1, num_timesteps=places, **changes))

    check(35)
    with pytest.raises(ValueError, match="reach to step 35 .* num_timesteps is 34: raise it to 35"):
        check(34)
    with pytest.raises(ValueError, match="reach to step 35"):  # a window may be cut at its end
        check(34, segment_steps=2)
    check(15, places_of="segment")
    check(9, places_of="segment", segment_steps=9)
    with pytest.raises(ValueError, match="up to 15 steps, and num_timesteps is 14: raise it to 15"):
        check(14, places_of="segment")


def test_pairs_say_where_their_segments_begin():
    data = make_data(num_pairs=20)
    batch = sampler(data).draw(OfflineBatchSizes(pairs=30, segment_steps=6)).pairs
    time = torch.arange(6)
    known = {}
    for episode in range(200):
        index = SegmentIndex(*(torch.tensor([n]) for n in (episode, 0, STEPS)))
        for step, seen in enumerate(data.dataset.replay.gather(index).observations[0].tolist()):
            known[tuple(seen)] = step
    steps = [
        [[known[tuple(o)] for o in s] for s in q] for q in batch.segments.observations.tolist()
    ]
    assert torch.equal(torch.tensor(steps), batch.starts[..., None] + time)


def test_windows_are_seen_as_the_agent_sees_and_padding_stays_zero():
    sizes = OfflineBatchSizes(windows=WindowSizes(number=400, steps=8))
    plain = sampler().draw(sizes).windows
    seen = sampler(view=lambda observations: observations + 7).draw(sizes).windows
    assert plain.observations.shape == (400, 8, 2)
    assert not bool(plain.mask.all())
    assert torch.equal(plain.rows, seen.rows)
    torch.testing.assert_close(seen.observations[seen.mask], plain.observations[plain.mask] + 7)
    assert bool((seen.observations[~seen.mask] == 0).all())


@pytest.mark.parametrize("name", [
    "pairs", "whole pairs", "lists", "transitions", "without last steps", "of the best",
    "of several steps", "windows",
])  # fmt: skip
def test_no_batch_but_the_first_waits_for_the_device(name, monkeypatch):
    dataset, preferences = make_data(num_pairs=20)
    sizes = {
        "pairs": OfflineBatchSizes(pairs=3, segment_steps=6),
        "whole pairs": OfflineBatchSizes(pairs=3),
        "lists": OfflineBatchSizes(lists=2, items=3, segment_steps=6),
        "of several steps": OfflineBatchSizes(
            transitions=4, steps=BatchSteps(num_rewards=3, num_actions=5)
        ),
        "windows": OfflineBatchSizes(windows=WindowSizes(number=3, steps=8)),
    }.get(name, OfflineBatchSizes(transitions=4))
    if name == "lists":
        index = preferences.segments
        preferences = ScoredSegments(index, torch.arange(float(len(index))))
    if name == "without last steps":
        dataset = replace(dataset, has_last_observations=False)
    best = best_episodes(dataset, 0.25) if name == "of the best" else None
    made = sampler((dataset, preferences), episodes=best)
    made.draw(sizes)
    with tape.never_waiting(monkeypatch):
        made.draw(sizes)


@pytest.mark.parametrize(("lengths", "steps"), [((6, 9), None), ((6, 9), 8), ((4, 9), 5)])
def test_segments_that_stay_unequal_are_padded_to_the_longest_of_their_batch(lengths, steps):
    dataset, preferences = make_data(num_pairs=20)
    labelled = preferences.labelled
    length = labelled.index.length.clone()
    length[:10], length[10:] = lengths[0], lengths[1]
    index = SegmentIndex(labelled.index.episode, labelled.index.start, length)
    uneven = LabelledPairs(type(labelled)(index, labelled.labels, labelled.weights))
    made = sampler((dataset, uneven))
    found = {
        made.draw(OfflineBatchSizes(pairs=1, segment_steps=steps)).pairs.segments.mask.shape[-1]
        for _ in range(20)
    }
    assert found == {min(length, steps or length) for length in lengths}


def test_windows_that_no_episode_has_are_refused_before_learning():
    sizes = OfflineBatchSizes(windows=WindowSizes(number=1, steps=STEPS + 1))
    with pytest.raises(ValueError, match="longer than every episode"):
        sampler().check(sizes)
