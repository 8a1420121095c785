import math

import h5py
import numpy as np
import pytest
import torch

from pbrl.feedback import FeedbackStore
from pbrl.offline.labels import (
    detect_format,
    is_self_contained,
    load_feedback,
    load_pairs,
    load_preferences,
    read_labels,
    save_scores,
)
from pbrl.offline.labels.agreement import agree
from pbrl.offline.labels.export import export_labels
from pbrl.offline.labels.join import need_dataset
from pbrl.offline.labels.origins import origin
from pbrl.offline.load import load_dataset
from pbrl.pairs import LabelledPairs, ScoredSegments
from pbrl.segments import SegmentIndex
from tests.offline.labels.builders import (
    clean_offline_rlhf,
    cpl_file,
    make_dataset,
    pair_arrays,
    pairs_file,
    preference_transformer,
)

EPISODES = "episode_0,start_0,length_0,episode_1,start_1,length_1,label"


@pytest.fixture
def dataset():
    return make_dataset()  # two episodes of 20 steps: row 25 is step 5 of episode 1


def csv(tmp_path, text: str):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def test_rows_become_episodes_and_steps(tmp_path, dataset):
    folder = preference_transformer(tmp_path / "hopper-medium-v2")
    preferences = load_preferences(folder, dataset)
    index = preferences.labelled.index
    assert index.episode.tolist() == [[0, 1], [0, 1], [0, 1]]
    assert index.start.tolist() == [[0, 0], [5, 5], [10, 10]]
    assert index.length.tolist() == [[5, 5]] * 3
    assert preferences.labelled.labels.tolist() == [0.0, 1.0, 0.5]


def test_human_and_scripted_folders_in_another_order_give_the_same_pairs(tmp_path, dataset):
    human = clean_offline_rlhf(tmp_path / "human")
    script = clean_offline_rlhf(
        tmp_path / "script",
        labels=[[0.0, 1.0], [1.0, 0.0], [0.5, 0.5]],
        first=(5, 0, 10),
        second=(25, 20, 30),
    )
    found = [load_preferences(folder, dataset).labelled for folder in (human, script)]
    by_start = [
        dict(zip(labelled.index.start[:, 0].tolist(), labelled.labels.tolist(), strict=True))
        for labelled in found
    ]
    assert by_start[0] == by_start[1] == {0: 0.0, 5: 1.0, 10: 0.5}


def test_a_record_keeps_refusals_and_learners_do_not_see_them(tmp_path, dataset):
    path = csv(tmp_path, f"{EPISODES},weight,annotator\n0,1,5,1,2,5,skip,1,a\n1,0,9,0,0,9,1,2,b\n")
    store = load_feedback(path, dataset)
    assert (store.num_asked, store.num_labelled, store.num_skipped) == (2, 1, 1)
    assert store.annotators == ("a", "b")
    labelled = load_preferences(path, dataset).labelled
    assert (labelled.labels.tolist(), labelled.weights.tolist()) == ([1.0], [2.0])
    assert labelled.index.length.tolist() == [[9, 9]]


def test_a_saved_record_is_read_like_any_other_file(tmp_path, dataset):
    store = load_feedback(preference_transformer(tmp_path / "hopper-medium-v2"), dataset)
    store.save(tmp_path / "record.npz")
    assert detect_format(tmp_path / "record.npz") == "record"
    loaded = load_preferences(tmp_path / "record.npz", dataset)
    assert isinstance(loaded, LabelledPairs)
    assert loaded.labelled.labels.tolist() == [0.0, 1.0, 0.5]
    assert loaded.labelled.index.start.tolist() == [[0, 0], [5, 5], [10, 10]]


def test_saved_scores_are_read_back(tmp_path, dataset):
    index = SegmentIndex(torch.tensor([0, 1, 1]), torch.tensor([3, 0, 15]), torch.full((3,), 5))
    save_scores(tmp_path / "deep" / "scores.npz", ScoredSegments(index, torch.tensor([1.5, -2, 0])))
    found = load_preferences(tmp_path / "deep" / "scores.npz", dataset)
    assert isinstance(found, ScoredSegments)
    assert found.scores.tolist() == [1.5, -2.0, 0.0]
    assert found.segments.start.tolist() == [3, 0, 15]
    with pytest.raises(ValueError, match="scores of segments, from which no record is made"):
        load_feedback(tmp_path / "deep" / "scores.npz", dataset)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"index": np.zeros((3, 2), int)},
            r"index must hold whole numbers of shape \(segment, 3\)",
        ),
        ({"index": np.zeros((3, 3))}, "found float64"),
        ({"index": np.int64(3)}, "of shape ()"),
        ({"scores": np.zeros(2)}, "one finite number for each of 3 segments"),
        ({"scores": np.full(3, np.nan)}, "one finite number"),
        ({"index": np.array([[0, 0, 5], [1, 0, 5], [2, 0, 5]])}, "episode 2; .* episodes 0 to 1"),
        ({"index": np.array([[0, 0, 5], [1, 16, 5], [1, 0, 5]])}, "1 segments leave their episode"),
    ],
)
def test_bad_scores_are_refused(tmp_path, dataset, changes, message):
    arrays = {"index": np.array([[0, 0, 5]] * 3), "scores": np.zeros(3)} | changes
    np.savez(tmp_path / "scores.npz", **arrays)
    with pytest.raises(ValueError, match=message) as error:
        load_preferences(tmp_path / "scores.npz", dataset)
    assert "scores.npz" in str(error.value)


def test_scripted_labels_go_with_the_dataset_of_the_human_file(tmp_path):
    arrays = pair_arrays()
    human = pairs_file(tmp_path / "human.npz")
    swapped = {  # the same segments in another order and the other way round
        "obs_1": arrays["obs_2"][::-1], "obs_2": arrays["obs_1"][::-1],
        "action_1": arrays["action_2"][::-1], "action_2": arrays["action_1"][::-1],
        "label": np.array([1.0, 1.0, 0.0]),
    }  # fmt: skip
    script = pairs_file(tmp_path / "script.npz", **swapped)
    dataset = load_pairs(human).dataset
    labelled = load_preferences(script, dataset).labelled
    assert labelled.index.episode.tolist() == [[5, 4], [3, 2], [1, 0]]
    assert labelled.labels.tolist() == [1.0, 1.0, 0.0]
    other = pairs_file(tmp_path / "other.npz", **pair_arrays(seed=1))
    with pytest.raises(ValueError, match="6 of 6 segments of the labels are not in the dataset"):
        load_preferences(other, dataset)
    with pytest.raises(ValueError, match="is its own dataset, not one of the family d4rl"):
        load_preferences(other, make_dataset())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("30,0,11,1", "1 of 2 segments lie outside the 40 rows"),
        ("0,100,5,1", "begins at row 100"),
        ("18,0,5,1", "leave their episode; the first begins at row 18, step 18 of episode 0"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, dataset, rows, message):
    path = csv(tmp_path, f"start_0,start_1,length,label\n{rows}\n")
    with pytest.raises(ValueError, match=message) as error:
        load_preferences(path, dataset)
    assert "labels.csv" in str(error.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2,0,5,0,0,5,1", "labels name episode 2; the dataset has episodes 0 to 1"),
        ("0,0,5,1,18,5,1", "begins at step 18 and has 5 steps, episode 1 has 20"),
        ("0,0,0,1,0,5,1", "begins at step 0 and has 0 steps"),
        ("0,0,21,1,0,5,1", "and has 21 steps, episode 0 has 20"),
        (f"0,{2**31 - 1},{2**31 - 1},1,0,5,1", "leave their episode"),
        ("0,0,5,1,0,5,skip", "holds no label"),
    ],
)
def test_episodes_that_do_not_fit_are_refused(tmp_path, dataset, row, message):
    with pytest.raises(ValueError, match=message) as error:
        load_preferences(csv(tmp_path, f"{EPISODES}\n{row}\n"), dataset)
    assert "labels.csv" in str(error.value)


def test_a_dataset_without_rows_is_told_which_file_is_needed(tmp_path):
    folder = preference_transformer(tmp_path / "hopper-medium-expert-v2")
    minari = make_dataset(name="mujoco/hopper/medium-v0", family="minari", with_rows=False)
    with pytest.raises(
        ValueError,
        match="family minari have no rows .* it needs hopper_medium_expert-v2.hdf5 of D4RL",
    ):
        load_preferences(folder, minari)


def test_another_dataset_is_refused_and_another_spelling_is_not(tmp_path):
    folder = preference_transformer(tmp_path / "hopper-medium-expert-v2")
    with pytest.raises(ValueError, match="count the rows of another dataset: .* it needs hopper"):
        load_preferences(folder, make_dataset(name="hopper-medium-v2"))
    assert len(load_preferences(folder, make_dataset(name="hopper_medium_expert-v2"))) == 3
    assert len(load_preferences(folder, make_dataset(name="a copy of mine"))) == 3


def test_what_is_needed_is_said_for_every_kind(tmp_path):
    known = read_labels(preference_transformer(tmp_path / "pen-human-v1"))
    assert "pen-human-v1.hdf5 of D4RL" in need_dataset(known)
    strange = read_labels(preference_transformer(tmp_path / "my-robot"))
    assert need_dataset(strange).endswith("it needs a dataset called my-robot")
    rows = read_labels(csv(tmp_path, "start_0,start_1,length,label\n0,1,5,1\n"))
    assert "counts rows of the dataset that was labelled" in need_dataset(rows)
    episodes = read_labels(csv(tmp_path, f"{EPISODES}\n0,0,5,1,0,5,1\n"))
    assert "by episode of the dataset that was labelled" in need_dataset(episodes)
    assert "holds its segments itself" in need_dataset(read_labels(pairs_file(tmp_path / "p.npz")))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("hopper-medium-expert-v2", "gym_mujoco_v2/hopper_medium_expert-v2.hdf5"),
        ("antmaze-umaze-v2", "Ant_maze_u-maze_noisy_multistart_False_multigoal_False_sparse_fixed"),
        ("hammer-cloned-v1", "hand_dapg_v1/hammer-cloned-v1.hdf5"),
        ("kitchen-mixed-v0", "kitchen_microwave_kettle_bottomburner_light-v0.hdf5"),
        ("Lift_ph", "low_dim.hdf5 of robomimic v0.1, task lift, demonstrations ph"),
        ("left_c", "Uni-RLHF"),
    ],
)
def test_origins_of_known_datasets(name, file):
    assert file in origin(name)


def test_kinds_are_told_from_what_the_files_hold(tmp_path):
    FeedbackStore().save(tmp_path / "record.npz")
    np.savez(tmp_path / "scores.npz", index=np.zeros((2, 3), int), scores=np.zeros(2))
    expected = {
        preference_transformer(tmp_path / "a"): "preference-transformer",
        clean_offline_rlhf(tmp_path / "b"): "clean-offline-rlhf",
        pairs_file(tmp_path / "pairs.npz"): "pairs",
        cpl_file(tmp_path / "cpl.npz"): "cpl",
        csv(tmp_path, EPISODES): "csv",
        tmp_path / "record.npz": "record",
        tmp_path / "scores.npz": "scores",
    }
    assert {path: detect_format(path) for path in expected} == expected
    holds_itself = [name for path, name in expected.items() if is_self_contained(path)]
    assert holds_itself == ["pairs", "cpl"]


def test_unknown_files_are_refused_with_the_list_of_known_kinds(tmp_path):
    np.savez(tmp_path / "x.npz", observations=np.zeros(3), actions=np.zeros(3))
    with pytest.raises(ValueError, match="found actions, observations; known are: record .*csv"):
        detect_format(tmp_path / "x.npz")
    assert not is_self_contained(tmp_path / "x.npz")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="a folder of other files"):
        read_labels(tmp_path / "folder")
    with pytest.raises(FileNotFoundError):
        read_labels(tmp_path / "absent")
    with pytest.raises(ValueError, match="unknown kind of label file 'cvs'; did you mean 'csv'"):
        read_labels(tmp_path / "x.npz", "cvs")


def test_soft_labels_pass_through(tmp_path, dataset):
    path = csv(tmp_path, f"{EPISODES}\n0,0,5,1,0,5,0.25\n")
    assert load_preferences(path, dataset).labelled.labels.tolist() == [0.25]
    assert not math.isnan(load_feedback(path, dataset).labelled().labels[0])


def test_rows_of_a_d4rl_file_are_those_of_its_q_learning_view(tmp_path):
    # Rows leave out the last step of a timed-out episode, here step 9; a terminated one keeps all.
    observations = np.arange(30, dtype=np.float32)[:, None]
    timeouts, terminals = np.zeros(30, bool), np.zeros(30, bool)
    timeouts[[9, 29]], terminals[19] = True, True
    with h5py.File(tmp_path / "hopper_medium-v2.hdf5", "w") as file:
        file["observations"], file["actions"] = observations, np.zeros((30, 1), np.float32)
        file["rewards"], file["timeouts"] = np.zeros(30, np.float32), timeouts
        file["terminals"] = terminals
    dataset = load_dataset(tmp_path / "hopper_medium-v2.hdf5")
    folder = preference_transformer(
        tmp_path / "hopper-medium-v2", labels=[0], first=[4], second=[9], name="num1_q5"
    )
    labelled = load_preferences(folder, dataset).labelled
    gathered = dataset.replay.gather(labelled.index).observations[0, ..., 0]
    assert gathered.tolist() == [[4, 5, 6, 7, 8], [10, 11, 12, 13, 14]]
    preference_transformer(folder, labels=[0], first=[5], second=[9], name="num1_q5")
    with pytest.raises(ValueError, match="1 of 2 segments leave their episode; .* row 5"):
        load_preferences(folder, dataset)


LABELS = f"{EPISODES}\n0,1,5,1,2,5,1\n1,0,9,0,0,9,0\n"


def records_of(dataset, tmp_path):
    """A record and a file of scores that say that they are of the dataset."""
    load_feedback(csv(tmp_path, LABELS), dataset).save(tmp_path / "record.npz")
    index = SegmentIndex(torch.tensor([0, 1]), torch.tensor([0, 3]), torch.tensor([5, 5]))
    scored = ScoredSegments(index, torch.tensor([1.0, 2.0]))
    save_scores(tmp_path / "scores.npz", scored, dataset.identity())
    return tmp_path / "record.npz", tmp_path / "scores.npz"


def test_labels_of_another_dataset_are_refused_although_their_indices_fit(tmp_path, recwarn):
    mine, other = make_dataset(name="mine"), make_dataset(name="other", seed=1)
    for path in records_of(mine, tmp_path):
        assert read_labels(path).identity == mine.identity()
        assert len(load_preferences(path, make_dataset(name="mine, renamed"))) == 2
        with pytest.raises(ValueError, match="the labels are of another dataset") as error:
            load_preferences(path, other)
        for word in (path.name, str(mine.identity()), str(other.identity()), "--other-dataset"):
            assert word in str(error.value)
    with pytest.raises(ValueError, match="of another dataset"):
        export_labels(read_labels(tmp_path / "record.npz"), tmp_path / "out.csv", other)
    assert not list(recwarn)


def test_labels_that_do_not_say_of_what_they_are_are_taken_with_a_warning(tmp_path, dataset):
    path = csv(tmp_path, LABELS)
    store = load_feedback(path, dataset)
    store.dataset = None  # as records were
    store.save(tmp_path / "old.npz")
    for file in (path, tmp_path / "old.npz"):
        with pytest.warns(RuntimeWarning, match=f"{file.name} does not say which dataset"):
            assert len(load_preferences(file, dataset)) == 2


def test_a_file_of_scores_with_a_strange_dataset_is_refused(tmp_path, dataset):
    _, path = records_of(dataset, tmp_path)
    with np.load(path) as file:
        arrays = dict(file)
    for strange in (np.frombuffer(b"{}", np.uint8), np.zeros(3), np.frombuffer(b"\xff", np.uint8)):
        np.savez(path, **arrays | {"dataset": strange})
        with pytest.raises(ValueError, match="scores.npz: dataset cannot be read"):
            read_labels(path)


def test_two_files_of_different_datasets_are_not_compared(tmp_path, dataset):
    ours = read_labels(records_of(dataset, tmp_path)[0])
    (tmp_path / "b").mkdir()
    theirs = read_labels(records_of(make_dataset(seed=1), tmp_path / "b")[0])
    with pytest.raises(ValueError, match="labels of two datasets have no pairs in common"):
        agree(ours, theirs)
