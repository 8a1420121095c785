import importlib.util
import json
from importlib import metadata

import gymnasium
import numpy as np
import pytest

from pbrl import envs


class Discrete(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)


class Unbounded(Discrete):
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("gym/Hoper-v5", "gym/Hopper-v5"),
        ("gym/hopper", "gym/Hopper-v5"),
        ("Hopper-v5", "gym/Hopper-v5"),
        ("dmc/walker_walk", "dmc/walker-walk"),
        ("dm_control/walker-walk", "dmc/walker-walk"),
        ("metaworld/button-press-topdown-v2", "metaworld/button-press-topdown-v3"),
        ("metaworld/drawer-open", "metaworld/drawer-open-v3"),
    ],
)
def test_an_unknown_id_is_refused_with_the_nearest(wrong, meant):
    with pytest.raises(ValueError, match="did you mean") as caught:
        envs.make(wrong)
    assert repr(wrong) in str(caught.value)
    assert meant in str(caught.value)


def test_an_id_near_nothing_is_refused_without_a_guess():
    with pytest.raises(ValueError, match="an id starts with gym/, dmc/, metaworld/, mjx/$"):
        envs.make("qqqq")


def test_an_unknown_module_says_so():
    with pytest.raises(ValueError, match="no_such_module"):
        envs.make("gym/no_such_module:Thing-v0")


def test_lists_hold_every_task_of_every_source():
    assert len(envs.list_ids("metaworld")) == 50
    assert len(envs.list_ids("dmc")) == 51
    gym_ids = envs.list_ids("gym")
    assert {"gym/Hopper-v5", "gym/HalfCheetah-v5", "gym/Humanoid-v5"} <= set(gym_ids)
    assert {"gym/Pendulum-v1", "gym/MountainCarContinuous-v0"} <= set(gym_ids)
    assert len(gym_ids) == 13
    assert {f"dmc/{env_id[4:]}" for env_id in envs.list_ids("mjx")} < set(envs.list_ids("dmc"))
    assert len(set(envs.list_ids())) == 50 + 51 + 13 + 11
    sources = "gym, dmc, metaworld, mjx"
    with pytest.raises(ValueError, match=f"unknown source 'atari'; there are {sources}"):
        envs.list_ids("atari")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_envs": 0}, "num_envs must be at least 1, got 0"),
        ({"backend": "jax"}, "backend must be one of .*, got 'jax'"),
        ({"device": "cuda:99"}, "device 'cuda:99': torch .* sees"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        envs.make("gym/Hopper-v5", **options)


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("gym/Pendulum-v1", "gym/Pendulum-v1 has no option goal_visible"),
        ("gym/Hopper-v5", "gym/Hopper-v5 has no option goal_visible"),
        ("mjx/walker-walk", "mjx/walker-walk has no option goal_visible; it has "),
        ("dmc/walker-walk", r"dmc/walker-walk has no option goal_visible; it has \['camera', "),
    ],
)
def test_options_that_a_task_does_not_know_are_refused(env_id, message):
    with pytest.raises(ValueError, match=message):
        envs.make(env_id, goal_visible=True)


@pytest.mark.parametrize(
    ("constructor", "message"),
    [(Discrete, "only continuous actions"), (Unbounded, "finite action bounds")],
)
def test_actions_that_cannot_be_scaled_are_refused(constructor, message):
    with pytest.raises(ValueError, match=message):
        envs.make(constructor)


def test_discrete_ids_are_refused_by_name():
    with pytest.raises(ValueError, match="gym/CartPole-v1 has the action space Discrete"):
        envs.make("gym/CartPole-v1", backend="official")


def test_missing_envpool_names_its_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert envs.make("gym/Hopper-v5").record.backend == "official"
    with pytest.raises(ImportError, match=r"pip install 'pbrl\[envpool\]'"):
        envs.make("gym/Hopper-v5", backend="envpool")


def test_the_record_says_what_is_run_in_plain_values():
    env = envs.make(
        "metaworld/reach-v3", 2, goal_visible=True, max_episode_steps=250, backend="official"
    )
    record = env.record.as_dict()
    assert json.loads(json.dumps(record)) == record
    assert record["id"] == "metaworld/reach-v3"
    assert record["backend"] == "official"
    assert record["num_envs"] == 2
    assert record["max_episode_steps"] == 250
    assert record["goal_visible"] is True
    assert record["reward_version"] == "v2"
    assert record["versions"]["mujoco"] == metadata.version("mujoco")
    assert record["versions"]["metaworld"] == metadata.version("metaworld")


def test_the_record_of_a_gym_task_has_no_goal_or_reward_version():
    record = envs.make("gym/Pendulum-v1", backend="official").record
    assert (record.goal_visible, record.reward_version) == (None, None)
    assert record.max_episode_steps == 200
