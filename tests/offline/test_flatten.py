import gymnasium
import h5py
import numpy as np
import pytest
from gymnasium import spaces

from pbrl.offline.checks import DatasetError
from pbrl.offline.flatten import check_flat, read_flat

SPACES = [
    spaces.Box(-1, 1, (3,)),
    spaces.Box(-1, 1, (2, 3)),
    spaces.Box(-1, 1, ()),
    spaces.Discrete(4, start=2),
    spaces.MultiBinary(3),
    spaces.Dict({"b": spaces.Box(-1, 1, (2,)), "a": spaces.Discrete(3)}),
    spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.Dict({"z": spaces.MultiBinary(2)})]),
]


def store(group, key: str, space, values: list) -> None:
    """Write elements of a space as Minari does."""
    match space:
        case spaces.Dict():
            for name, part in space.spaces.items():
                store(group, f"{key}/{name}", part, [value[name] for value in values])
        case spaces.Tuple():
            for number, part in enumerate(space.spaces):
                store(group, f"{key}/_index_{number}", part, [value[number] for value in values])
        case _:
            group[key] = np.stack(values)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_vectors_are_those_of_gymnasium(tmp_path, space):
    space.seed(0)
    values = [space.sample() for _ in range(6)]
    path = tmp_path / "data.hdf5"
    with h5py.File(path, "w") as file:
        store(file, "observations", space, values)
    check_flat("observations", space)
    with h5py.File(path) as file:
        found = read_flat(path, file, "observations", space, 6)
    expected = [gymnasium.spaces.flatten(space, value) for value in values]
    np.testing.assert_array_equal(found, np.stack(expected))
    assert found.dtype == np.float32


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(0, 255, (8, 8, 3), np.uint8), r"holds images \(8, 8, 3\)"),
        (spaces.Dict({"a": spaces.Text(5)}), "observations, a is Text"),
        (spaces.Tuple([spaces.Graph(spaces.Discrete(2), None)]), "observations, entry 0 is Graph"),
    ],
)
def test_what_is_no_vector_is_refused(space, message):
    with pytest.raises(DatasetError, match=message):
        check_flat("observations", space)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([0, 3]), "must hold whole numbers of Discrete.3., found int64 from 0 to 3"),
        (np.array([-1, 0]), "from -1 to 0"),
        (np.array([0.5, 1.0]), "found float64"),
        (np.array([0]), r"has shape \(1,\), expected \(2\)"),
    ],
)
def test_numbers_outside_of_a_discrete_space_are_refused(tmp_path, values, message):
    path = tmp_path / "data.hdf5"
    with h5py.File(path, "w") as file:
        file["numbers"] = values
        with pytest.raises(DatasetError, match=message):
            read_flat(path, file, "numbers", spaces.Discrete(3), 2)
