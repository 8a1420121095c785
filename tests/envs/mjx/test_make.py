"""Which back end runs, and what is said where one cannot."""

import pytest
import torch

import pbrl.envs
from pbrl.devices import free_memory
from pbrl.envs.mjx.jax_physics import is_installed
from pbrl.envs.mjx.memory import GIBIBYTE, WorldsDoNotFit, check_memory

WALKER = "mjx/walker-walk"


def test_ids_are_listed():
    assert WALKER in pbrl.envs.list_ids("mjx")
    assert WALKER in pbrl.envs.list_ids()
    with pytest.raises(ValueError, match="walker-walk"):
        pbrl.envs.make("mjx/walker-wal")


def test_without_a_gpu_the_threads_run():
    env = pbrl.envs.make(WALKER, 2)
    assert env.record.backend == "rollout"
    assert env.record.num_envs == 2
    assert env.record.max_episode_steps == 1000
    assert {"mujoco", "dm_control"} <= env.record.versions.keys()


def test_official_is_the_task_of_dm_control():
    env = pbrl.envs.make(WALKER, backend="official")
    assert isinstance(env, pbrl.envs.SerialVectorEnv)
    assert env.record.id == WALKER
    assert env.record.backend == "official"


@pytest.mark.parametrize(
    ("env_id", "backend"),
    [(WALKER, "envpool"), ("dmc/walker-walk", "mjx"), ("dmc/walker-walk", "rollout")],
)
def test_back_ends_of_other_sources_are_refused(env_id, backend):
    with pytest.raises(ValueError, match=f"{env_id}: backend must be one of .* got '{backend}'"):
        pbrl.envs.make(env_id, backend=backend)


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="no option task_kwargs; it has"):
        pbrl.envs.make(WALKER, task_kwargs={})
    with pytest.raises(ValueError, match="num_threads must be at least 1, got 0"):
        pbrl.envs.make(WALKER, num_threads=0)
    with pytest.raises(ValueError, match="no camera 'nowhere'"):
        pbrl.envs.make(WALKER, camera="nowhere")


@pytest.mark.skipif(is_installed(), reason="jax and mujoco-mjx are installed")
def test_without_the_extra_its_name_is_told():
    with pytest.raises(ImportError, match=r"pip install 'pbrl\[gpu\]'"):
        pbrl.envs.make(WALKER, backend="mjx")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("backend", ["auto", "rollout", "mjx"])
def test_without_a_gpu_its_device_is_refused(backend):
    with pytest.raises(ValueError, match="sees 0 GPUs.*choose the device cpu"):
        pbrl.envs.make(WALKER, device="cuda", backend=backend)


def test_worlds_that_do_not_fit_are_counted():
    device = torch.device("cuda", 0)
    check_memory(9 * GIBIBYTE, 10 * GIBIBYTE, num_envs=1000, device=device)
    with pytest.raises(WorldsDoNotFit, match=r"4,000 worlds need 36.0 GiB on cuda:0, where 10.0"):
        check_memory(36 * GIBIBYTE, 10 * GIBIBYTE, num_envs=4000, device=device)
    with pytest.raises(WorldsDoNotFit, match="num_envs of at most 1,000"):
        check_memory(36 * GIBIBYTE, 10 * GIBIBYTE, num_envs=4000, device=device)


def test_the_processors_memory_is_not_counted():
    assert free_memory(torch.device("cpu")) is None
    check_memory(2**60, None, num_envs=10, device=torch.device("cpu"))


def test_threads_are_no_more_than_torch_has(monkeypatch):
    monkeypatch.setattr("pbrl.envs.mjx.rollout.num_processors", lambda: 8)
    for num_threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda number=num_threads: number)
        env = pbrl.envs.make(WALKER, 2)
        assert env.env.physics.num_threads == num_threads
        env.close()
    env = pbrl.envs.make(WALKER, 2, num_threads=2)
    assert env.env.physics.num_threads == 2
