import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pbrl.training.state_tree import flatten, unflatten

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


def round_trip(state):
    tree, tensors = flatten(state)
    return unflatten(json.loads(json.dumps(tree)), tensors)


@given(TREES)
def test_plain_values_come_back_equal_and_of_equal_type(state):
    assert repr(round_trip(state)) == repr(state)


@pytest.mark.parametrize(
    "name", ["float32", "float64", "bfloat16", "int32", "int64", "uint8", "bool"]
)
def test_tensors_keep_dtype_and_shape(name):
    dtype = getattr(torch, name)
    for shape in ((), (0,), (3, 0), (2, 3)):
        tensor = torch.ones(shape, dtype=dtype)
        back = round_trip({"x": tensor})["x"]
        assert back.dtype == dtype
        assert torch.equal(back, tensor)


def test_numpy_arrays_and_scalars_stay_numpy():
    state = {
        "array": np.arange(4, dtype=np.int16)[::2],
        "flag": np.array([True]),
        "zero": np.zeros(()),
    }
    back = round_trip(state)
    for name, array in state.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)
    assert isinstance(round_trip(np.float64(0.1)), np.float64)
    assert round_trip(np.float64(0.1)) == 0.1


def test_optimiser_state_keeps_integer_keys():
    layer = torch.nn.Linear(2, 1)
    optimiser = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    back = round_trip(optimiser.state_dict())
    assert list(back["state"]) == [0, 1]
    assert torch.equal(back["state"][0]["exp_avg"], optimiser.state_dict()["state"][0]["exp_avg"])
    assert back["param_groups"] == optimiser.state_dict()["param_groups"]


def test_a_generator_goes_on_where_it_was():
    generator = torch.Generator().manual_seed(3)
    state = round_trip(generator.get_state())
    expected = torch.rand(5, generator=generator)
    assert torch.equal(torch.rand(5, generator=torch.Generator().set_state(state)), expected)


def test_numpy_generator_state_holds_large_integers():
    rng = np.random.default_rng(3)
    other = np.random.default_rng(0)
    other.bit_generator.state = round_trip(rng.bit_generator.state)
    assert other.random() == rng.random()


def test_tensors_that_share_memory_become_separate():
    whole = torch.arange(4.0)
    _, tensors = flatten([whole, whole[:2], whole.view(2, 2)])
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == 3


def test_equal_paths_do_not_collide():
    assert round_trip({"a/b": torch.zeros(1), "a": {"b": torch.ones(1)}})["a/b"].item() == 0.0


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array([None]), {(1, 2): 3}])
def test_what_cannot_be_stored_is_named(value):
    with pytest.raises(TypeError, match="outer/inner"):
        flatten({"outer": {"inner": value}})


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="call"):
        unflatten({"call": "print"}, {})
