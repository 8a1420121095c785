import math
from dataclasses import replace

import pytest
import torch

from pbrl.offline.transfer import (
    AmbiguousAlignmentError,
    TransferConfig,
    TransportConfig,
    orientation,
    transfer,
    transfer_labels,
)
from pbrl.offline.transfer.features import anchor_cost, read_segments
from pbrl.offline.transfer.transport import couple
from pbrl.pairs import LabelledPairs, ScoredSegments
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

pytest.importorskip("ot", reason="POT is an extra")
STEPS = 12
CONFIG = TransferConfig(segments=16, rounds=2, pairs=60, anchor="progress")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def progress(seed: int, angle: float, extra: int = 0, skewed: bool = True) -> ReplayBuffer:
    """Episodes that go some way along a line; the true return is how far."""
    draws = generator(seed)
    number = 40
    way = torch.rand(number, generator=draws)
    way = 1 - (1 - way) ** (1 / 3) if skewed else way
    places = way[:, None] * torch.linspace(0, 1, STEPS + 1)
    observations = torch.stack([math.cos(angle) * places, math.sin(angle) * places], -1)
    observations = observations + 0.01 * torch.randn(observations.shape, generator=draws)
    observations = torch.cat([observations, torch.zeros(number, STEPS + 1, extra)], -1)
    return ReplayBuffer.from_episodes(
        observations=observations[:, :-1].flatten(0, 1),
        actions=torch.zeros(number * STEPS, 1 + extra),
        true_rewards=places[:, 1:].flatten(),
        last_observations=observations[:, -1],
        lengths=torch.full((number,), STEPS),
        terminated=torch.zeros(number, dtype=torch.bool),
    )


def scored(replay: ReplayBuffer) -> ScoredSegments:
    number = len(replay.completed_episodes())
    whole = torch.full((number,), STEPS)
    index = SegmentIndex(torch.arange(number), torch.zeros_like(whole), whole)
    return ScoredSegments(index, replay.gather(index).true_returns())


def accuracy(made, target: ReplayBuffer) -> float:
    labelled = made.labelled()
    returns = target.gather(labelled.index).true_returns()
    return float(((returns[:, 1] > returns[:, 0]) == (labelled.labels > 0.5)).float().mean())


@pytest.fixture(scope="module")
def source():
    return progress(0, 0.0)


@pytest.fixture(scope="module")
def target():
    return progress(1, 1.1, extra=2)


def test_labels_reach_a_task_of_other_dimensions(source, target):
    made = transfer_labels(source, scored(source), target, CONFIG, generator())
    assert accuracy(made, target) > 0.9
    labelled = made.labelled()
    assert len(labelled) == 60
    assert ((labelled.labels - 0.5).abs() >= 0.05).all()
    assert 0.3 < (labelled.labels > 0.5).float().mean() < 0.7
    assert made.agreement > 0.5
    assert made.warnings == ()
    torch.testing.assert_close(made.labels + made.labels.T, torch.ones_like(made.labels))


def test_flipped_labels_arrive_flipped(source, target):
    right = scored(source)
    flipped = ScoredSegments(right.segments, -right.scores)
    made = transfer_labels(source, flipped, target, CONFIG, generator())
    assert accuracy(made, target) < 0.1


def test_sparse_labels_are_carried_where_there_are_some(source, target):
    pairs = scored(source).draw(60, generator(3))
    made = transfer_labels(source, LabelledPairs(pairs), target, CONFIG, generator())
    assert accuracy(made, target) > 0.8
    assert made.rounds[0].support.max() < 1


def test_the_same_seed_gives_the_same_labels(source, target):
    one, two = (transfer_labels(source, scored(source), target, CONFIG, generator(4)) for _ in "ab")
    assert torch.equal(one.labels, two.labels)
    assert torch.equal(one.pairs, two.pairs)


def test_without_an_anchor_the_mirror_image_is_refused_or_warned_of():
    source, target = (progress(seed, 0.0, skewed=False) for seed in (5, 6))
    alone = replace(CONFIG, anchor="none")
    with pytest.raises(AmbiguousAlignmentError, match="may all be inverted. Name what goes"):
        transfer_labels(source, scored(source), target, alone, generator())
    made = transfer_labels(
        source, scored(source), target, replace(alone, ambiguous="warn"), generator()
    )
    assert "may all be inverted" in made.warnings[0]


def test_what_has_not_converged_is_told(source, target):
    hasty = replace(CONFIG, transport=TransportConfig(max_iterations=1))
    made = transfer_labels(source, scored(source), target, hasty, generator())
    assert "had not converged after 1 iterations" in made.warnings[0]


def test_an_anchor_in_which_all_are_alike_is_told(source, target):
    """Whole episodes all begin at the same step."""
    made = transfer_labels(
        source,
        scored(source),
        target,
        replace(CONFIG, anchor="time", ambiguous="warn"),
        generator(),
    )
    assert "the anchor time tells nothing in 2 of 2 alignments" in made.warnings[0]


def test_no_segment_is_compared_with_itself():
    source, target = progress(7, 0.0), progress(8, 0.0)
    many = replace(CONFIG, segments=40, pairs=780, min_confidence=0.0)
    made = transfer_labels(source, scored(source), target, many, generator())
    index = made.labelled().index
    assert len(index) < 780  # whole episodes: of 40 drawn out of 40 some came twice
    assert (index.episode[:, 0] != index.episode[:, 1]).all()


def test_ties_have_nothing_to_carry(source, target):
    tied = ScoredSegments(scored(source).segments, torch.zeros(40))
    with pytest.raises(ValueError, match="all labels of the source are ties"):
        transfer_labels(source, tied, target, CONFIG, generator())


def test_a_round_of_ties_is_left_out_and_told(source, target):
    drawn = scored(source).draw(60, generator(3))
    decided = torch.arange(60) < 5
    few = LabelledPairs(replace(drawn, labels=torch.where(decided, drawn.labels, 0.5)))
    many = replace(CONFIG, rounds=8, min_confidence=0.0, ambiguous="warn")
    made = transfer_labels(source, few, target, many, generator())
    assert 0 < len(made.rounds) < 8
    left_out = 8 - len(made.rounds)
    assert f"{left_out} of 8 alignments were left out: all their labels tie" in made.warnings
    last = torch.arange(60) == 59
    one = LabelledPairs(replace(drawn, labels=torch.where(last, drawn.labels, 0.5)))
    with pytest.raises(ValueError, match="drawn in 1 rounds are ties"):
        transfer_labels(source, one, target, replace(many, rounds=1), generator())


def test_as_many_rounds_as_take_the_labels_of_the_source(source, target):
    auto = replace(CONFIG, rounds=None)
    pairs = scored(source).draw(60, generator(3))
    made = transfer_labels(source, LabelledPairs(pairs), target, auto, generator())
    assert len(made.rounds) == 8  # of eight pairs each
    used, there_are = made.used
    assert there_are == 60
    assert 30 < used <= 60
    made = transfer_labels(source, scored(source), target, auto, generator())
    assert len(made.rounds) == 3  # of sixteen of forty segments each
    assert 16 < made.used[0] <= made.used[1] == 40


def test_a_round_that_tells_nothing_does_not_thin_out_the_others(source, target, monkeypatch):
    alone = transfer_labels(source, scored(source), target, CONFIG, generator())
    align, calls = transfer._align, []

    def first_is_silent(*arguments):
        made = align(*arguments)
        calls.append(made)
        return made if len(calls) > 1 else made._replace(labels=torch.full_like(made.labels, 0.5))

    monkeypatch.setattr(transfer, "_align", first_is_silent)
    made = transfer_labels(source, scored(source), target, CONFIG, generator())
    torch.testing.assert_close(made.labels, alone.rounds[1].labels)
    assert made.warnings == (
        "1 of 2 alignments were left out: every label that they bring is one half",
    )


def test_ppa_carries_labels_too(source, target):
    """Its plans leave the masses a little off, which is told and not refused."""
    few = TransportConfig(solver="PPA", max_iterations=30)  # each of them is long
    proximal = replace(CONFIG, ambiguous="warn", transport=few)
    made = transfer_labels(source, scored(source), target, proximal, generator())
    assert accuracy(made, target) > 0.8


def test_where_the_other_way_round_cannot_be_searched_it_is_told(source, target, monkeypatch):
    def only_from_the_start(*arguments, start=None, **options):
        if start is not None:
            raise ValueError("no plan")
        return couple(*arguments, **options)

    monkeypatch.setattr(orientation, "couple", only_from_the_start)
    made = transfer_labels(source, scored(source), target, CONFIG, generator())
    assert all(one.orientation is None for one in made.rounds)
    assert "2 of 2 alignments could not be searched the other way round" in made.warnings[0]


def test_a_plan_that_tells_nothing_is_refused(source, target):
    vague = replace(CONFIG, anchor="none", transport=TransportConfig(epsilon=1e4))
    with pytest.raises(ValueError, match="tells nothing"):
        transfer_labels(source, scored(source), target, vague, generator())


def test_labels_near_one_half_are_left_out(source, target):
    vague = replace(
        CONFIG, transport=TransportConfig(epsilon=1.0), min_confidence=0.499, ambiguous="warn"
    )
    with pytest.raises(ValueError, match=r"no label is further than min_confidence 0\.499"):
        transfer_labels(source, scored(source), target, vague, generator())


def test_segments_of_one_task_are_of_one_length(source, target):
    index = scored(source).segments
    uneven = SegmentIndex(index.episode, index.start, index.length - torch.arange(40) % 2)
    data = ScoredSegments(uneven, scored(source).scores)
    with pytest.raises(ValueError, match="segments of the source have 11 to 12 steps"):
        transfer_labels(source, data, target, CONFIG, generator())


def test_equal_segments_are_refused(source):
    still = progress(2, 0.0)
    still.all_observations().zero_()
    with pytest.raises(ValueError, match="all 16 segments of the target are equal"):
        transfer_labels(source, scored(source), still, CONFIG, generator())


@pytest.mark.parametrize(
    "change",
    [{"segments": 1}, {"rounds": 0}, {"pairs": 0}, {"length": 0}, {"min_confidence": 0.5},
     {"max_rivalry": 1.5}],
)  # fmt: skip
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        TransferConfig(**change)


def test_anchors_by_hand():
    """Two episodes of four steps; segments of two steps each."""
    places = torch.tensor([0.0, 1.0, 2.0, 3.0, 0.0, 4.0, 8.0, 8.0])
    replay = ReplayBuffer.from_episodes(
        observations=places[:, None],
        actions=torch.zeros(8, 1),
        true_rewards=torch.zeros(8),
        last_observations=torch.zeros(2, 1),
        lengths=torch.tensor([4, 4]),
        terminated=torch.zeros(2, dtype=torch.bool),
    )
    index = SegmentIndex(torch.tensor([0, 0, 1]), torch.tensor([0, 2, 1]), torch.tensor([2, 2, 2]))
    task = read_segments(replay, index, "task")
    assert anchor_cost(task, task, "none") is None
    expected = {  # ranks 0, 1/2, 1 of each
        "progress": [0.0, 0.5, 1.0],  # 0.5, 2.5 and 6 from where the episode began
        "time": [0.0, 1.0, 0.5],
        "path-length": [0.25, 0.25, 1.0],  # 1, 1 and 4
    }
    for anchor, ranks in expected.items():
        values = torch.tensor(ranks, dtype=torch.float64)
        torch.testing.assert_close(
            anchor_cost(task, task, anchor), (values[:, None] - values).square()
        )
