import numpy as np
import pytest

from pbrl.training.fit_config import DataConfig
from pbrl.training.fit_data import Data, fingerprint, load_data
from tests.training.point_mass import make_data, make_dataset


@pytest.fixture
def pairs(tmp_path):
    """Labelled pairs in a folder that bears the name of a dataset."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "walker2d-medium-expert-v2"
    folder.mkdir()
    np.savez(
        folder / "human.npz",
        obs_1=rng.normal(size=(6, 20, 17)),
        obs_2=rng.normal(size=(6, 20, 17)),
        action_1=rng.uniform(-0.9, 0.9, (6, 20, 6)),
        action_2=rng.uniform(-0.9, 0.9, (6, 20, 6)),
        label=np.array([0, 1, 0.5, 1, 0, 1]),
    )
    return folder / "human.npz"


def test_a_file_of_pairs_is_dataset_and_labels_in_one(pairs):
    data = load_data(str(pairs), None, DataConfig(), "cpu")
    assert data.num_labels == 6
    assert data.dataset.info.env == "gym/Walker2d-v4"
    assert data.dataset.info.reference is not None
    facts = data.facts()
    assert (facts.benchmark, facts.segment_steps, facts.num_labels) == ("mujoco", 20, 6)
    prefixed = load_data(f"pairs:{pairs}", None, DataConfig(env="gym/Walker2d-v5"), "cpu")
    assert prefixed.num_labels == 6
    assert prefixed.dataset.info.env == "gym/Walker2d-v5"


def test_other_labels_of_the_same_segments_may_be_given(pairs):
    content = dict(np.load(pairs))
    content["label"] = 1 - content["label"]
    other = pairs.with_name("script.npz")
    np.savez(other, **content)
    data = load_data(str(pairs), str(other), DataConfig(), "cpu")
    assert data.preferences.labelled.labels.tolist() == [1, 0, 0.5, 0, 1, 0]


def test_a_dataset_without_labels():
    data = Data(make_dataset(4))
    assert (data.num_labels, data.facts().segment_steps) == (0, None)
    assert fingerprint(data)["labels"] is None


def test_the_fingerprint_changes_with_data_and_labels():
    first = fingerprint(make_data(num_pairs=10))
    assert first == fingerprint(make_data(num_pairs=10))
    assert first["dataset"]["steps"] == 200 * 50
    flipped = make_data(num_pairs=10)
    flipped.preferences.labelled.labels.neg_().add_(1)
    assert fingerprint(flipped)["labels"] != first["labels"]
