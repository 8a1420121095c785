import numpy as np
import pytest

from pbrl import envs
from pbrl.cluster import NodeFault
from pbrl.envs.ray_workers import RolloutWorkerLost, make_on_workers, merge_infos
from tests.ray_nodes import two_nodes

NUM_ENVS = 5
ENV = "gym/Hopper-v5"  # random actions end its episodes at different steps


@pytest.fixture(scope="module")
def address():
    with two_nodes() as nodes:
        yield nodes.address


def assert_same(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif one.dtype == object:
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)
    else:
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def actions_of(num_steps, shape):
    return np.random.default_rng(0).uniform(-1, 1, (num_steps, *shape)).astype(np.float32)


def test_workers_step_as_one_process_does_until_one_is_lost(address):
    here = envs.make(ENV, NUM_ENVS, seed=3, backend="official")
    there = make_on_workers(ENV, NUM_ENVS, workers=2, seed=3, address=address, backend="official")
    assert there.record == here.record
    assert there.single_observation_space == here.single_observation_space
    assert there.action_space == here.action_space
    np.testing.assert_array_equal(there.reset()[0], here.reset()[0])
    num_ended = 0
    for actions in actions_of(60, here.action_space.shape):
        expected, got = here.step(actions), there.step(actions)
        for left, right in zip(expected, got, strict=True):
            assert_same(left, right)
        num_ended += int(expected[2].sum())
    assert num_ended > NUM_ENVS  # and the episodes after the first
    np.testing.assert_array_equal(there.reset(seed=8)[0], here.reset(seed=8)[0])
    last = here.get_state(4)
    assert_same(there.get_state(4), last)
    there.set_state(0, last)
    assert_same(there.get_state(0), last)
    with pytest.raises(IndexError, match="0 to 4, got 5"):
        there.get_state(5)
    with pytest.raises(ValueError, match=r"actions must have shape \(5, 3\)"):
        there.step(np.zeros((2, 3), np.float32))
    there._ray.kill(there._workers[1])
    with pytest.raises(
        RolloutWorkerLost, match=r"worker 1 \(sub-environments 3 to 4\) .* --resume"
    ):
        there.step(actions)
    there.close()


def test_what_make_refuses_is_refused_in_its_own_words(address):
    with pytest.raises(ValueError, match="backend must be one of"):
        make_on_workers(ENV, 2, workers=1, address=address, device="cpu", backend="nothing")
    with pytest.raises(NodeFault, match="9 rollout workers need a CPU each, and .* has 4: lower"):
        make_on_workers(ENV, 9, workers=9, address=address)


def test_impossible_numbers_of_workers():
    for workers in (0, 3):
        with pytest.raises(
            ValueError, match=rf"workers must lie in \[1, num_envs 2\], got {workers}"
        ):
            make_on_workers(ENV, 2, workers=workers)
    with pytest.raises(ValueError, match="unknown environment"):
        make_on_workers("gym/Nothing-v0", 2, workers=1)


def test_infos_of_parts_become_those_of_the_whole():
    row = np.array([1.0, 2.0])
    first = {
        "success": np.array([True, False]),
        "final_obs": np.array([None, row], object),
        "_final_obs": np.array([False, True]),
        "final_info": {"steps": np.array([0, 7]), "_steps": np.array([False, True])},
    }
    merged = merge_infos([first, {"success": np.array([True])}], [2, 1])
    assert merged["success"].tolist() == [True, False, True]
    assert merged["final_obs"][1] is row
    assert merged["final_obs"][0] is merged["final_obs"][2] is None
    assert merged["_final_obs"].tolist() == [False, True, False]
    assert merged["final_info"]["steps"].tolist() == [0, 7, 0]
    assert merge_infos([{}, {}], [2, 1]) == {}
