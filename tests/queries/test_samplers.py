import re
from pathlib import Path

import pytest
import torch

from pbrl.queries.samplers import (
    SAMPLERS,
    QuerySampler,
    Sampler,
    SamplerConfig,
    make_sampler,
    observation_features,
    overlaps,
)
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex, Segments

SCORED_ONLY = [name for name, config in SAMPLERS.items() if config.score and not config.k_center]


class RandomModel:
    """An ensemble of fixed random linear rewards."""

    def __init__(self, num_members=3, observation_dim=3):
        self.weight = torch.randn(
            num_members, observation_dim, generator=torch.Generator().manual_seed(5)
        )

    def segment_returns(self, segments):
        rewards = torch.einsum("...o,mo->m...", segments.observations, self.weight)
        return (rewards * segments.mask).sum(-1)


def small(name, **changes):
    return make_sampler(name, **{"segment_length": 10, **changes})


def pairs_of(replay, number, seed=9, length=10):
    generator = torch.Generator().manual_seed(seed)
    return replay.sample_segments(2 * number, length, generator).reshape(number, 2)


def rows(index):
    return list(
        zip(index.episode.flatten(1).tolist(), index.start.flatten(1).tolist(), strict=True)
    )


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_returns_the_number_asked(make_replay, generator, name):
    replay = make_replay([60, 45, 80])
    sampler = small(name)
    assert isinstance(sampler, Sampler)
    index = sampler(replay, RandomModel(), 12, generator, pairs_of(replay, 5))
    assert index.shape == (12, 2)
    assert (index.length == 10).all()
    assert (index.start + index.length <= torch.tensor([60, 45, 80])[index.episode]).all()


@pytest.mark.parametrize("name", SAMPLERS)
def test_same_seed_same_queries(make_replay, name):
    replay = make_replay([60, 45])
    labelled = pairs_of(replay, 5)

    def ask(seed):
        generator = torch.Generator().manual_seed(seed)
        return rows(small(name)(replay, RandomModel(), 6, generator, labelled))

    assert ask(1) == ask(1)
    assert ask(1) != ask(2)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_first_session_is_uniform(make_replay, name):
    replay = make_replay([60, 45])
    empty = SegmentIndex.empty(0, 2)
    for labelled in (None, empty):
        queries = small(name, pool=10)(replay, None, 6, torch.Generator().manual_seed(3), labelled)
        uniform = small("uniform", pool=10)(replay, None, 6, torch.Generator().manual_seed(3))
        assert rows(queries) == rows(uniform)


def test_k_center_needs_no_model_once_there_are_labels(make_replay, generator):
    replay = make_replay([60, 45])
    queries = small("k-center")(replay, None, 6, generator, pairs_of(replay, 5))
    uniform = small("uniform")(replay, None, 6, torch.Generator().manual_seed(0))
    assert rows(queries) != rows(uniform)


def test_uniform_is_flat_over_the_legal_windows(make_replay, generator):
    replay = make_replay([5, 2, 3])
    sampler = make_sampler("uniform", segment_length=3)
    index = sampler(replay, None, 4000, generator)
    seen = torch.stack([index.episode, index.start], -1).flatten(0, 1)
    windows, counts = seen.unique(dim=0, return_counts=True)
    assert windows.tolist() == [[0, 0], [0, 1], [0, 2], [2, 0]]
    assert (counts - 2000).abs().max() < 160  # four standard deviations
    together = (index.episode[:, 0] == index.episode[:, 1]).float().mean().item()
    assert together == pytest.approx(10 / 16, abs=0.03)


def test_uniform_is_flat_over_episodes_of_one_length(make_replay, generator):
    replay = make_replay([30] * 10)
    index = small("uniform")(replay, None, 5000, generator)
    for side in (0, 1):
        counts = index.episode[:, side].bincount(minlength=10)
        assert (counts - 500).abs().max() < 90  # four standard deviations


def test_near_on_policy_draws_from_the_last_complete_episodes_only(make_replay, generator):
    replay = make_replay([30] * 25)
    replay.add(*[torch.zeros(1, size) for size in (3, 2)], torch.zeros(1), torch.zeros(1),
               torch.zeros(1, 3), torch.tensor([False]), torch.tensor([False]))  # fmt: skip
    for name in SAMPLERS:
        if not name.startswith("near-on-policy"):
            continue
        index = small(name)(replay, RandomModel(), 40, generator, pairs_of(replay, 5))
        assert index.episode.min() >= 15
        assert index.episode.max() == 24
    few = make_replay([30] * 3)
    assert small("near-on-policy")(few, None, 60, generator).episode.unique().tolist() == [0, 1, 2]


def test_pool_of_none_is_the_whole_replay(make_replay, generator):
    replay = make_replay([12] * 120)
    assert (
        small("uniform", pool=None)(replay, None, 4000, generator).episode.unique().numel() == 120
    )
    assert small("uniform")(replay, None, 4000, generator).episode.min() == 20


def test_near_on_policy_pairs_coincide_as_often_as_computed(generator):
    # N = 10 episodes of 1,000 steps, H = 50: same episode 0.1, overlap in time 0.0101
    replay = ReplayBuffer(10_000, 1, 1, num_envs=10)
    column, row, never = torch.zeros(10, 1), torch.zeros(10), torch.zeros(10, dtype=torch.bool)
    for step in range(1000):
        replay.add(column, column, row, row, column, never, never | (step == 999))
    index = make_sampler("near-on-policy")(replay, None, 200_000, generator)
    together = index.episode[:, 0] == index.episode[:, 1]
    assert together.float().mean().item() == pytest.approx(0.10, abs=0.003)
    assert overlaps(index).float().mean().item() == pytest.approx(0.0101, abs=0.001)


@pytest.mark.parametrize("name", SCORED_ONLY)
def test_a_factor_of_one_is_uniform_up_to_order(make_replay, name):
    replay = make_replay([60, 45])
    sampler = small(name, candidate_factor=1, pool=10)
    queries = sampler(replay, RandomModel(), 20, torch.Generator().manual_seed(4))
    uniform = small("uniform", pool=10)(replay, None, 20, torch.Generator().manual_seed(4))
    assert sorted(rows(queries)) == sorted(rows(uniform))


@pytest.mark.parametrize("name", ["disagreement", "mutual-information"])
def test_members_that_agree_leave_the_order_of_the_candidates(make_replay, name):
    replay = make_replay([60, 45])
    model = RandomModel()
    model.weight = model.weight[:1].repeat(3, 1)
    queries = small(name)(replay, model, 8, torch.Generator().manual_seed(4))
    candidates = small("uniform")(replay, None, 80, torch.Generator().manual_seed(4))
    assert rows(queries) == rows(candidates[:8])


@pytest.mark.parametrize("name", ["disagreement", "mutual-information", "k-center+disagreement"])
def test_one_member_cannot_disagree(make_replay, generator, name):
    replay = make_replay([60, 45])
    with pytest.raises(ValueError, match="compares members .* give it more members"):
        small(name)(replay, RandomModel(1), 4, generator, pairs_of(replay, 5))
    assert len(small("entropy")(replay, RandomModel(1), 4, generator)) == 4


def test_scored_samplers_take_the_best_candidates(make_replay):
    replay, model = make_replay([600, 450]), RandomModel()
    candidates = small("uniform")(replay, None, 80, torch.Generator().manual_seed(4))
    returns = model.segment_returns(replay.gather(candidates))
    spread = (returns[..., 0] - returns[..., 1]).sigmoid().std(0, correction=0)
    best = candidates[spread.argsort(descending=True)[:8]]
    queries = small("disagreement")(replay, model, 8, torch.Generator().manual_seed(4))
    assert rows(queries) == rows(best)


# Worked examples B and C together: six candidates with the margins of B and, as features, the
# points of C; one pair is labelled, at the origin.
POINTS = [(0, 0), (1, 0), (4, 0), (4, 1), (0, 3), (2, 2)]
MARGINS = torch.tensor(
    [[0, 0.1, -0.1], [3, -3, 0], [2, 2.1, 1.9], [-1, 1, -0.5], [0.5, 0.5, 0.5], [-4, -4.2, -3.8]]
).T


class SheetModel:
    """Knows a candidate by its place: the episodes of pair k are 2 k and 2 k + 1."""

    def segment_returns(self, segments):
        place = segments.actions[..., 0, 0].long()  # [segment]
        return MARGINS[:, place // 2] * (place % 2)


class SheetReplay:
    """Segments of one step; the action says which segment it is."""

    observations = torch.tensor([*POINTS, (0, 0)], dtype=torch.float32).reshape(-1, 1)

    def completed_episodes(self, last=None):
        return torch.arange(12)

    def sample_segments(self, number, length, generator, episodes=None):
        place = torch.arange(number)
        return SegmentIndex(place, torch.zeros_like(place), torch.ones_like(place))

    def gather(self, index):
        mask = torch.ones(*index.shape, 1, dtype=torch.bool)
        actions = index.episode[..., None, None].float()
        return Segments(self.observations[index.episode][..., None, :], actions, mask, mask.float())


LABELLED = SegmentIndex(torch.tensor([[12, 13]]), torch.zeros(1, 2).long(), torch.ones(1, 2).long())


@pytest.mark.parametrize(
    ("name", "number", "picks"),
    [
        ("disagreement", 2, [1, 3]),
        ("entropy", 2, [0, 4]),
        ("mutual-information", 2, [1, 3]),
        ("disagreement", 6, [1, 3, 0, 2, 5, 4]),
        ("entropy", 6, [0, 4, 3, 2, 1, 5]),
        ("k-center", 3, [3, 4, 5]),
        ("k-center+disagreement", 2, [3, 1]),
        ("k-center+entropy", 2, [3, 4]),
    ],
)
def test_worked_examples(generator, name, number, picks):
    sampler = make_sampler(name, segment_length=1, candidate_factor=6 // number)
    queries = sampler(SheetReplay(), SheetModel(), number, generator, LABELLED)
    assert (queries.episode[:, 0] // 2).tolist() == picks
    assert torch.equal(queries.episode[:, 1], queries.episode[:, 0] + 1)


def test_k_center_never_returns_a_candidate_twice(make_replay, generator):
    replay = make_replay([200, 200])
    queries = small("k-center", candidate_factor=2)(
        replay, None, 40, generator, pairs_of(replay, 30)
    )
    assert len(set(map(str, rows(queries)))) == 40


def test_features_are_observations_of_both_segments(make_replay):
    replay = make_replay([30, 30])
    queries = pairs_of(replay, 4)
    observations = replay.gather(queries).observations
    features = observation_features(replay, queries, 10)
    assert torch.equal(features, torch.cat([observations[:, 0], observations[:, 1]], 1).flatten(1))
    longer = observation_features(replay, queries, 12)
    assert torch.equal(longer.reshape(4, 2, 12, 3)[:, :, :10], observations)
    assert not longer.reshape(4, 2, 12, 3)[:, :, 10:].any()


def test_labelled_segments_of_another_length(make_replay, generator):
    replay = make_replay([30, 30])
    for length in (4, 15):
        labelled = pairs_of(replay, 6, length=length)
        assert len(small("k-center")(replay, None, 5, generator, labelled)) == 5


def test_chunks_do_not_change_the_choice(make_replay):
    replay = make_replay([60, 45, 80])
    labelled = pairs_of(replay, 50)
    chosen = [
        rows(
            small("k-center+entropy", chunk_size=chunk_size)(
                replay, RandomModel(), 10, torch.Generator().manual_seed(1), labelled
            )
        )
        for chunk_size in (40, 16_384)
    ]
    assert chosen[0] == chosen[1]


def test_overlaps_by_hand():
    index = SegmentIndex(
        torch.tensor([[0, 0], [0, 0], [0, 1], [0, 0], [0, 0]]),
        torch.tensor([[0, 9], [0, 10], [0, 0], [10, 5], [7, 0]]),
        torch.tensor([[10, 10], [10, 10], [10, 10], [10, 5], [10, 8]]),
    )
    assert overlaps(index).tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("name", SAMPLERS)
def test_overlapping_pairs_can_be_rejected(make_replay, generator, name):
    replay = make_replay([25, 22])
    sampler = small(name, reject_overlap=True)
    queries = sampler(replay, RandomModel(), 30, generator, pairs_of(replay, 5))
    assert queries.shape == (30, 2)
    assert not overlaps(queries).any()


def test_rejecting_everything_says_what_to_change(make_replay, generator):
    with pytest.raises(ValueError, match="1 episodes hold too few pairs .* larger pool"):
        small("uniform", reject_overlap=True)(make_replay([15]), None, 3, generator)


def test_queries_keep_nothing_but_their_own_index(make_replay, generator):
    replay = make_replay([60, 45, 80])
    kept = []
    for name in SAMPLERS:
        for _ in range(10):
            kept.append(small(name)(replay, RandomModel(), 5, generator, pairs_of(replay, 5)))
    for index in kept:
        for part in (index.episode, index.start, index.length):
            assert part.untyped_storage().nbytes() == 5 * 2 * 8


def test_a_segment_longer_than_every_episode_is_refused(make_replay, generator):
    with pytest.raises(ValueError, match="longest has 15 steps"):
        make_sampler("uniform", segment_length=16)(make_replay([15, 12]), None, 3, generator)


def test_no_queries_cannot_be_asked_for(make_replay, generator):
    with pytest.raises(ValueError, match="number must be at least 1, got 0"):
        small("uniform")(make_replay([15]), None, 0, generator)


def test_make_sampler():
    assert make_sampler("near-on-policy", pool=30).config == SamplerConfig(pool=30)
    config = SamplerConfig(k_center=True)
    assert make_sampler(config).config == config
    assert QuerySampler().config == SAMPLERS["uniform"]
    with pytest.raises(ValueError, match=r"unknown sampler 'disagrement'; did you mean 'disagree"):
        make_sampler("disagrement")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("segment_length", 0),
        ("pool", 0),
        ("candidate_factor", 0),
        ("chunk_size", 0),
        ("score", "doubt"),
    ],
)
def test_illegal_values_are_named(name, value):
    with pytest.raises((ValueError, TypeError), match=name):  # TypeError where types are checked
        SamplerConfig(**{name: value})


def test_k_center_needs_more_candidates_than_queries():
    with pytest.raises(ValueError, match="candidate_factor of at least 2"):
        SamplerConfig(k_center=True, score="entropy", candidate_factor=1)


def test_the_documented_table():
    docs = (Path(__file__).parents[2] / "docs" / "queries.md").read_text()
    assert re.findall(r"^\| `([a-z+-]+)` \| last", docs, flags=re.MULTILINE) == list(SAMPLERS)


@pytest.mark.parametrize(
    ("lengths", "config", "can_draw"),
    [
        ([], {}, False),
        ([4, 4], {}, False),
        ([4, 5], {}, True),
        ([5, 4], {"pool": 1}, False),
        ([5], {"reject_overlap": True}, False),
        ([5, 5], {"reject_overlap": True}, True),
    ],
)
def test_a_sampler_says_whether_its_pool_is_enough(make_replay, lengths, config, can_draw):
    sampler = QuerySampler(SamplerConfig(segment_length=5, **config))
    assert sampler.can_draw(make_replay(lengths, capacity=20), 3) is can_draw
