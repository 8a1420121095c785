import numpy as np
import pytest

from pbrl import envs
from pbrl.offline.checks import DatasetError
from pbrl.offline.load import load_dataset
from pbrl.offline.matching import check_matches


def dataset(tmp_path, observation_dim, action_dim):
    path = tmp_path / "mine.npz"
    arrays = {"observations": np.zeros((2, 5, observation_dim))}
    np.savez(path, **arrays, actions=np.zeros((2, 5, action_dim)))
    return load_dataset(path)


def test_equal_sizes_match(tmp_path):
    found = dataset(tmp_path, 3, 1)
    assert (found.observation_dim, found.action_dim) == (3, 1)
    check_matches(found, envs.make("gym/Pendulum-v1", 2))
    check_matches(found, envs.make("gym/Pendulum-v1", device="cpu"))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((4, 1), r"its observations have 4 entries, the environment's have shape \(3,\)"),
        ((3, 2), r"its actions have 2 entries, the environment's have shape \(1,\)"),
    ],
)
def test_other_sizes_are_refused(tmp_path, sizes, message):
    with pytest.raises(DatasetError, match=f"mine does not fit .*gym/Pendulum-v1: {message}"):
        check_matches(dataset(tmp_path, *sizes), envs.make("gym/Pendulum-v1"))
