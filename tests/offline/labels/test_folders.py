import shutil

import numpy as np
import pytest

from pbrl.offline.labels.folders import (
    is_clean_offline_rlhf,
    is_preference_transformer,
    read_clean_offline_rlhf,
    read_preference_transformer,
)
from tests.offline.labels.builders import HEX, clean_offline_rlhf, dump, preference_transformer

REST = f"domain_mujoco_env_hopper-medium-v2_num_3_len_5_{HEX}.pkl"


def test_codes_of_preference_transformer_become_the_probability_of_the_second(tmp_path):
    table = read_preference_transformer(preference_transformer(tmp_path / "hopper-medium-v2"))
    assert table.labels.tolist() == [0.0, 1.0, 0.5]
    assert table.segments.tolist() == [[[0, 5], [20, 5]], [[5, 5], [25, 5]], [[10, 5], [30, 5]]]
    assert table.named_by == "rows"
    assert table.dataset == "hopper-medium-v2"
    assert set(table.annotators) == {"human"}
    assert table.weights.tolist() == [1.0, 1.0, 1.0]


def test_the_length_is_100_unless_the_name_says_otherwise(tmp_path):
    table = read_preference_transformer(preference_transformer(tmp_path / "a", name="num4"))
    assert set(table.segments[..., 1].flatten()) == {100}


def test_codes_and_one_hot_pairs_of_clean_offline_rlhf(tmp_path):
    human = read_clean_offline_rlhf(clean_offline_rlhf(tmp_path / "human"))
    script = read_clean_offline_rlhf(
        clean_offline_rlhf(tmp_path / "script", labels=[[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    )
    assert human.labels.tolist() == script.labels.tolist() == [0.0, 1.0, 0.5]
    assert human.segments.tolist() == [[[0, 5], [20, 5]], [[5, 5], [25, 5]], [[10, 5], [30, 5]]]
    assert (human.dataset, human.annotators[0]) == ("hopper-medium-v2", "crowd")
    assert script.annotators == ("script",) * 3


def test_the_two_kinds_of_folder_are_told_apart(tmp_path):
    one = preference_transformer(tmp_path / "one")
    other = clean_offline_rlhf(tmp_path / "other")
    assert (is_preference_transformer(one), is_clean_offline_rlhf(one)) == (True, False)
    assert (is_preference_transformer(other), is_clean_offline_rlhf(other)) == (False, True)
    assert not is_clean_offline_rlhf(tmp_path / "absent")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 2]}, r"label_human must be one of \[-1, 0, 1\], found 2 at position 1"),
        ({"labels": [0] * 5}, "5 labels need as many indices or more, found 4 in indices_num4_q5"),
        ({"second": [1, 2, 3]}, "found 4 in indices_num4_q5 and 3 in indices_2_num4_q5"),
        ({"first": [0, 5, -10, 15]}, "indices_num4_q5 holds rows -10 to 15; rows count from 0"),
        ({"first": [0.5, 1.5, 2.5, 3.5]}, "must hold row numbers on one axis, found float64"),
        ({"first": [[0, 5], [10, 15]]}, r"on one axis, found int64 of shape \(2, 2\)"),
    ],
)
def test_bad_folders_of_preference_transformer_are_refused(tmp_path, changes, message):
    folder = preference_transformer(tmp_path / "task", **changes)
    with pytest.raises(ValueError, match=message) as error:
        read_preference_transformer(folder)
    assert "task" in str(error.value)


def test_files_of_preference_transformer_that_do_not_belong_together(tmp_path):
    folder = preference_transformer(tmp_path / "task")
    (folder / "indices_2_num4_q5").rename(folder / "indices_2_num4_q50")
    with pytest.raises(ValueError, match="one pair of files indices_numN, indices_2_numN"):
        read_preference_transformer(folder)
    (folder / "indices_2_num4_q50").unlink()
    with pytest.raises(ValueError, match="found indices_num4_q5, label_human"):
        read_preference_transformer(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0, 1, 7]}, r"must be one of \[-1, 0, 1\], found 7"),
        ({"labels": [0.0, 1.0, 0.5]}, "must be whole numbers on one axis, found float64"),
        ({"labels": [[1.0, 1.0]] * 3}, r"found \(1.0, 1.0\)"),
        ({"labels": [[1.0, 0.0, 0.0]] * 3}, r"one pair of numbers per query, found \(3, 3\)"),
        ({"labels": [0, 1]}, "the names promise 3 pairs, found 2 labels, 3 first and 3 second"),
        ({"first": [0, 1]}, "found 3 labels, 2 first and 3 second"),
        ({"second": [0, 1, 2, 3]}, "found 3 labels, 3 first and 4 second"),
        ({"count": 4}, "the names promise 4 pairs, found 3 labels"),
    ],
)
def test_bad_folders_of_clean_offline_rlhf_are_refused(tmp_path, changes, message):
    folder = clean_offline_rlhf(tmp_path / "task", **changes)
    with pytest.raises(ValueError, match=message) as error:
        read_clean_offline_rlhf(folder)
    assert "task" in str(error.value)


def test_files_of_clean_offline_rlhf_that_do_not_belong_together(tmp_path):
    folder = clean_offline_rlhf(tmp_path / "task")
    other = REST.replace(HEX, HEX[::-1])
    (folder / f"indices_1_{REST}").rename(folder / f"indices_1_{other}")
    with pytest.raises(ValueError, match="of the same name after that"):
        read_clean_offline_rlhf(folder)
    (folder / f"indices_1_{other}").unlink()
    with pytest.raises(ValueError, match="must hold one file of labels and the files indices_1"):
        read_clean_offline_rlhf(folder)


def test_a_hostile_pickle_names_its_file(tmp_path):
    folder = preference_transformer(tmp_path / "task")
    dump(folder / "label_human", shutil.rmtree)
    with pytest.raises(ValueError, match="label_human is not a pickled .* 'rmtree' of 'shutil'"):
        read_preference_transformer(folder)


def test_labels_in_arrays_and_starts_in_lists_are_read_too(tmp_path):
    folder = preference_transformer(tmp_path / "task")
    dump(folder / "label_human", np.array([1, 1, 0]))
    dump(folder / "indices_num4_q5", [0, 1, 2, 3])
    table = read_preference_transformer(folder)
    assert table.labels.tolist() == [1.0, 1.0, 0.0]
    assert table.segments[:, 0, 0].tolist() == [0, 1, 2]
