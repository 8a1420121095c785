import numpy as np
import pytest
import torch

from pbrl.offline.dataset import DatasetInfo, OfflineDataset
from pbrl.queries.human import StudyConfig
from pbrl.queries.human.plans import DrawConfig, drawn_queries, gold_pairs, listed_pairs
from pbrl.replay import ReplayBuffer


@pytest.fixture
def pairs_file(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "people.npz"
    arrays = {name: rng.normal(size=(6, 4, 3)) for name in ("obs_1", "obs_2")}
    arrays |= {name: rng.uniform(-1, 1, size=(6, 4, 2)) for name in ("action_1", "action_2")}
    np.savez(path, label=np.array([0, 1, 0.5, 1, 0, 0.5]), **arrays)
    return path, arrays


@pytest.fixture
def dataset():
    lengths = torch.tensor([12, 8, 20])
    steps = int(lengths.sum())
    numbers = torch.arange(steps, dtype=torch.float32)
    replay = ReplayBuffer.from_episodes(
        observations=numbers[:, None],
        actions=torch.zeros(steps, 2),
        true_rewards=numbers,
        last_observations=torch.zeros(3, 1),
        lengths=lengths,
        terminated=torch.zeros(3, dtype=torch.bool),
    )
    return OfflineDataset(DatasetInfo(name="steps", family="npz"), replay)


def test_the_pairs_of_a_file_in_its_order(pairs_file):
    path, arrays = pairs_file
    queries = list(listed_pairs(path, StudyConfig()))
    assert [query.key for query in queries] == [f"people {row}" for row in range(6)]
    for row, query in enumerate(queries):
        assert query.gold is None
        for place in (0, 1):
            expected = arrays[f"obs_{place + 1}"][row].astype(np.float32)
            np.testing.assert_array_equal(query.segments[place].observations, expected)
            assert query.segments[place].episode == 2 * row + place


def test_gold_questions_are_decided_pairs(pairs_file):
    path, _ = pairs_file
    queries = list(gold_pairs(path, StudyConfig(), 4, seed=0))
    answers = {query.key: query.gold for query in queries}
    assert answers == {
        "gold people 0": {"label": 0.0},
        "gold people 1": {"label": 1.0},
        "gold people 3": {"label": 1.0},
        "gold people 4": {"label": 0.0},
    }
    with pytest.raises(ValueError, match="has 4 pairs of which one is better, 5 are asked for"):
        list(gold_pairs(path, StudyConfig(), 5, seed=0))


@pytest.mark.parametrize(("kind", "size"), [("pair", 2), ("moment", 2), ("rating", 1)])
def test_queries_are_cut_from_the_dataset(dataset, kind, size):
    draw = DrawConfig(num_queries=20, segment_length=6, seed=3)
    queries = list(drawn_queries(dataset, StudyConfig(kind=kind), draw))
    assert len({query.key for query in queries}) == 20
    first = [0, 12, 20]
    for query in queries:
        assert len(query.segments) == size
        for segment in query.segments:
            expected = first[segment.episode] + segment.start + np.arange(6)
            np.testing.assert_array_equal(segment.observations[:, 0], expected)
            np.testing.assert_array_equal(segment.true_rewards, expected)
    again = list(drawn_queries(dataset, StudyConfig(kind=kind), draw))
    assert [one.segments[0].start for one in queries] == [one.segments[0].start for one in again]


def test_rankings_take_several_segments(dataset):
    config = StudyConfig(kind="ranking", ranking_size=5)
    draw = DrawConfig(num_queries=3, segment_length=20)
    queries = list(drawn_queries(dataset, config, draw))
    assert [len(query.segments) for query in queries] == [5, 5, 5]
    assert {segment.episode for query in queries for segment in query.segments} == {2}


def test_what_cannot_be_is_refused(dataset, pairs_file):
    with pytest.raises(ValueError, match="holds pairs; a study of ratings"):
        list(listed_pairs(pairs_file[0], StudyConfig(kind="rating")))
    with pytest.raises(ValueError, match="20"):
        list(drawn_queries(dataset, StudyConfig(), DrawConfig(segment_length=21)))
    with pytest.raises(ValueError, match="num_queries must be at least 1"):
        DrawConfig(num_queries=0)
