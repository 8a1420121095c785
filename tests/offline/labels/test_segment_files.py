from pathlib import Path

import numpy as np
import pytest
import torch

from pbrl.offline.labels import load_pairs
from pbrl.offline.labels.segment_files import read_pairs, read_scored_segments, segment_dataset
from tests.offline.labels.builders import cpl_file, pair_arrays, pairs_file


def test_pairs_keep_their_labels_and_their_segments(tmp_path):
    path = pairs_file(tmp_path / "num3_human_train.npz")
    segments, table = read_pairs(path)
    arrays = pair_arrays()
    assert table.labels.tolist() == [1.0, 0.0, 0.5]  # 1 prefers the second, as here
    np.testing.assert_array_equal(segments.observations[1], arrays["obs_2"][0].astype(np.float32))
    np.testing.assert_array_equal(segments.actions[4], arrays["action_1"][2].astype(np.float32))
    assert (table.named_by, table.annotators[0]) == ("content", "human")
    assert not segments.rewards.any()


def test_every_segment_is_an_episode_and_the_index_finds_it(tmp_path):
    arrays = pair_arrays()
    dataset, preferences = load_pairs(pairs_file(tmp_path / "pairs.npz"))
    labelled = preferences.labelled
    gathered = dataset.replay.gather(labelled.index)
    for place in (0, 1):
        expected = torch.tensor(arrays[f"obs_{place + 1}"], dtype=torch.float32)
        torch.testing.assert_close(gathered.observations[:, place], expected, rtol=0, atol=0)
        expected = torch.tensor(arrays[f"action_{place + 1}"], dtype=torch.float32)
        torch.testing.assert_close(gathered.actions[:, place], expected, rtol=0, atol=0)
    assert labelled.labels.tolist() == [1.0, 0.0, 0.5]
    assert dataset.info.family == "pairs"
    assert not dataset.has_last_observations
    assert dataset.replay.num_steps == 6 * 4
    assert not bool(dataset.replay.gather(labelled.index).true_rewards.any())


def test_a_segment_that_comes_twice_is_one_episode(tmp_path):
    arrays = pair_arrays()
    arrays["obs_2"][2], arrays["action_2"][2] = arrays["obs_1"][0], arrays["action_1"][0]
    dataset, preferences = load_pairs(pairs_file(tmp_path / "pairs.npz", **arrays))
    assert len(dataset.replay.completed_episodes()) == 5
    index = preferences.labelled.index
    assert index.episode.tolist() == [[0, 1], [2, 3], [4, 0]]
    assert len(preferences.segments) == 5


def test_the_checksum_is_that_of_the_segments_and_not_of_the_labels(tmp_path):
    human = load_pairs(pairs_file(tmp_path / "human.npz")).dataset.info
    script = load_pairs(pairs_file(tmp_path / "script.npz", label=np.ones(3))).dataset.info
    other = load_pairs(pairs_file(tmp_path / "other.npz", **pair_arrays(seed=1))).dataset.info
    assert human.checksum == script.checksum != other.checksum


def test_a_folder_named_after_a_dataset_tells_environment_and_reference(tmp_path):
    path = pairs_file(tmp_path / "hopper-medium-expert-v2" / "num3.npz")
    info = load_pairs(path).dataset.info
    assert info.name == "hopper-medium-expert-v2/num3"
    assert info.env.startswith("gym/Hopper")
    assert info.reference.family == "d4rl-v2"
    assert load_pairs(pairs_file(tmp_path / "num3.npz")).dataset.info.env is None


def test_rewards_of_older_files_are_true_rewards(tmp_path):
    rewards = {f"reward_{i}": np.full((3, 4), float(i)) for i in (1, 2)}
    dataset, preferences = load_pairs(pairs_file(tmp_path / "pairs.npz", **rewards))
    returns = dataset.replay.gather(preferences.labelled.index).true_returns()
    assert returns.tolist() == [[4.0, 8.0]] * 3


def test_scored_segments_prefer_the_higher_score(tmp_path):
    dataset, preferences = load_pairs(cpl_file(tmp_path / "mw.npz"))
    assert preferences.scores.tolist() == [0, 1, 2, 3, 4, 5]
    labelled = preferences.draw(50, torch.Generator().manual_seed(0))
    second_is_higher = labelled.index.episode[:, 1] > labelled.index.episode[:, 0]
    assert labelled.labels.tolist() == second_is_higher.float().tolist()
    assert dataset.replay.num_steps == 24
    assert float(dataset.replay.gather(preferences.segments).true_rewards.abs().sum()) > 0


def test_another_score_can_be_chosen(tmp_path):
    path = cpl_file(tmp_path / "mw.npz")
    assert load_pairs(path, "rl_dir").preferences.scores.tolist() == [0, -1, -2, -3, -4, -5]
    with pytest.raises(ValueError, match="has no score rl_lp; it has rl_dir, rl_sum"):
        read_scored_segments(path, "rl_lp")
    with pytest.raises(ValueError, match="has no score obs"):
        read_scored_segments(path, "obs")


NAN = np.full((3, 4, 2), np.nan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.array([1.0, -1.0, 0.0])}, r"label .* must lie in \[0, 1\], found -1.0"),
        ({"label": np.array([1.0, np.nan, 0.0])}, "found nan"),
        ({"label": np.ones(4)}, r"one row per query, found shapes .* and \(4,\)"),
        ({"label": np.ones((3, 1))}, r"and \(3, 1\)"),
        ({"obs_1": NAN}, "obs_1 has values that are not finite"),
        ({"obs_2": np.full((3, 4, 2), 1e300)}, "obs_2 has values that are not finite"),
        ({"obs_2": np.zeros((2, 4, 2)), "action_2": np.zeros((2, 4, 1))}, "one row per query"),
        ({"obs_2": np.zeros((3, 5, 2))}, "obs_2, action_2 and reward_2 must agree"),
        ({"obs_1": np.zeros((3, 4))}, "obs_1 and action_1 must have three axes"),
        ({"obs_1": np.zeros((3, 4, 3, 8, 8))}, "images are not read here"),
        ({"obs_1": np.zeros((0, 4, 2)), "action_1": np.zeros((0, 4, 1))}, "none of them empty"),
        ({"action_2": np.full((3, 4, 1), 1.5)}, r"action_2 must lie in \[-1, 1\], found 1.5"),
        ({"action_1": np.zeros((3, 5, 1))}, "must agree on segments and time"),
        ({"action_1": np.full((3, 4, 1), "a")}, "action_1 cannot be read"),
        ({"reward_1": np.zeros((3, 4)), "reward_2": np.zeros((3, 5))}, "reward_2 must agree"),
        ({"annotator": np.array(["ada", "ben"])}, r"annotator must have one entry .* shape \(2,\)"),
        ({"annotator": np.ones(3)}, "annotator cannot be read: .* expected text"),
        ({"annotator": np.full(3, 2**31 - 1, np.uint32).view("<U1")}, "annotator cannot be read"),
        (
            {"weight": np.array([1.0, -1.0, 1.0])},
            "weight must be finite .*, found -1",
        ),
        ({"weight": np.array(["1"] * 3)}, "weight cannot be read: .* expected numbers"),
    ],
)
def test_bad_pairs_are_refused(tmp_path, changes, message):
    path = pairs_file(tmp_path / "pairs.npz", **changes)
    with pytest.raises(ValueError, match=message) as error:
        read_pairs(path)
    assert "pairs.npz" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rl_sum": np.ones(5)}, "rl_sum must hold one finite score for each of 6 segments"),
        ({"rl_sum": np.full(6, np.inf)}, "one finite score"),
        ({"reward": np.full((6, 4), np.nan)}, "reward has values that are not finite"),
        ({"obs": np.zeros((6, 4, 3, 8, 8), np.uint8)}, "images are not read here"),
    ],
)
def test_bad_scored_segments_are_refused(tmp_path, changes, message):
    path = cpl_file(tmp_path / "mw.npz", **changes)
    with pytest.raises(ValueError, match=message):
        read_scored_segments(path)


def test_a_kind_without_segments_is_no_dataset(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("start_0,start_1,length,label\n0,5,5,1\n")
    with pytest.raises(ValueError, match="of the kind csv, which does not hold its segments"):
        load_pairs(path)


def test_a_file_named_without_its_folder_is_the_same_dataset(tmp_path, monkeypatch):
    path = pairs_file(tmp_path / "hopper-medium-expert-v2" / "seg.npz")
    monkeypatch.chdir(path.parent)
    for name in (path, Path("seg.npz"), Path("../hopper-medium-expert-v2/seg.npz")):
        info = load_pairs(name).dataset.info
        assert (info.name, info.env) == ("hopper-medium-expert-v2/seg", "gym/Hopper-v4")


def test_what_came_after_a_segment_is_not_known(tmp_path):
    path = pairs_file(tmp_path / "pairs.npz")
    segments, _ = read_pairs(path)
    dataset = segment_dataset(segments, path)
    assert dataset.replay.episode_lengths(torch.arange(6)).tolist() == [4] * 6
    batch = dataset.replay.sample(200, torch.Generator().manual_seed(0))
    assert not bool(batch.terminated.any())
