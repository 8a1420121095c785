"""The interface of the EnvPool back end; `test_envpool_parity` compares the tasks themselves."""

import importlib
import warnings

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

from pbrl import envs
from pbrl.envs import envpool as backend
from pbrl.envs.envpool_parity import AGREES, DIFFERS

pytest.importorskip("envpool", reason="the extra pbrl[envpool] is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:.*is not known to be the official task")

SUITES = (*envs.list_ids("dmc"), *envs.list_ids("metaworld"))
FAMILIES = ("gym/Hopper-v5", "dmc/walker-walk", "metaworld/window-open-v3")


def make(env_id, num_envs=1, **options):
    return envs.make(env_id, num_envs, backend="envpool", **options)


def actions_of(env, number, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (number, *env.action_space.shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("env_id", "name"),
    [
        ("gym/Hopper-v5", "Hopper-v5"),
        ("dmc/walker-walk", "WalkerWalk-v1"),
        ("dmc/ball_in_cup-catch", "BallInCupCatch-v1"),
        ("dmc/humanoid_CMU-run", "HumanoidCMURun-v1"),
        ("dmc/point_mass-easy", "PointMassEasy-v1"),
        ("metaworld/button-press-topdown-v3", "MetaWorld/ButtonPressTopdown-v3"),
    ],
)
def test_names(env_id, name):
    assert backend.envpool_name(env_id) == name


def test_every_task_of_the_control_suite_and_meta_world_has_a_name_in_envpool():
    known = set(importlib.import_module("envpool").list_all_envs())
    wanted = {backend.envpool_name(env_id) for env_id in SUITES}
    assert wanted <= known


@pytest.mark.parametrize("env_id", FAMILIES)
def test_spaces_records_and_types_are_those_of_the_official_back_end(env_id):
    official = envs.make(env_id, 3, backend="official")
    env = make(env_id, 3)
    assert env.observation_space == official.observation_space
    assert env.action_space == official.action_space
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    for key in ("id", "num_envs", "max_episode_steps", "reward_version", "goal_visible"):
        assert getattr(env.record, key) == getattr(official.record, key)
    assert env.record.backend == "envpool"
    assert env.record.versions["envpool"]
    observations, infos = env.reset()
    assert infos == {}
    assert env.observation_space.contains(observations)
    official.reset()
    action = np.zeros(env.action_space.shape, np.float32)
    for ours, theirs in zip(env.step(action)[:4], official.step(action)[:4], strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)


def test_a_finished_sub_environment_starts_anew_in_the_same_step_and_no_step_is_a_reset():
    env = make("gym/Hopper-v5", 6)
    elapsed = np.zeros(6, dtype=int)
    observations, _ = env.reset()
    num_ends = 0
    for action in actions_of(env, 150):
        following, _, terminated, truncated, infos = env.step(action)
        elapsed += 1
        finished = terminated | truncated
        assert ("final_obs" in infos) is bool(finished.any())
        for row in np.flatnonzero(finished):
            num_ends += 1
            last = infos["final_obs"][row]
            # it fell: too low, or leaning too far; the first observation of the next stands
            assert last[0] <= 0.7 or abs(last[1]) >= 0.2
            assert following[row, 0] > 1.2
            assert np.abs(following[row] - observations[row]).max() > 0.1
        if finished.any():
            assert (infos["_final_obs"] == finished).all()
            elapsed[finished] = 0
        # the step after an end is a step: the state moved from the first one of the episode
        assert (np.abs(following - observations).max(1) > 0).all()
        observations = following
    assert num_ends > 20


def test_the_step_after_the_end_belongs_to_the_next_episode():
    """The reward after a start is that of an episode, and 20 steps after it time is up again."""
    env = make("dmc/cartpole-balance", 3, max_episode_steps=20)
    env.reset()
    ends = []
    for number, action in enumerate(actions_of(env, 85) * 0, start=1):
        _, rewards, terminated, truncated, _ = env.step(action)
        assert (rewards > 0.5).all()
        assert not terminated.any()
        assert truncated.all() == truncated.any()
        if truncated.all():
            ends.append(number)
    assert ends == [20, 40, 60, 80]


@pytest.mark.parametrize(
    ("env_id", "steps"), [("metaworld/window-open-v3", 500), ("dmc/cartpole-swingup", 1000)]
)
def test_the_time_limit_truncates(env_id, steps):
    env = make(env_id, 2)
    env.reset()
    for number in range(1, steps + 1):
        _, _, terminated, truncated, infos = env.step(np.zeros(env.action_space.shape))
        assert not terminated.any()
        assert truncated.all() == (number == steps)
    assert infos["_final_obs"].all()
    if env_id.startswith("metaworld"):
        assert infos["success"].dtype == np.bool_
        assert infos["final_info"]["success"].shape == (2,)


def test_the_true_last_observation_is_not_the_first_of_the_next_episode():
    env = make("dmc/pendulum-swingup", 2, max_episode_steps=10)
    before, _ = env.reset()
    for _ in range(10):
        following, *_, infos = env.step(np.ones((2, 1)))
        true = envs.final_observations(following, infos)
        # the pendulum's angle moves by its velocity times 0.02 s: a jump would be a reset
        turned = np.arctan2(true[:, 1], true[:, 0]) - np.arctan2(before[:, 1], before[:, 0])
        turned = (turned + np.pi) % (2 * np.pi) - np.pi
        assert np.allclose(turned, 0.02 * true[:, 2], atol=0.02)
        before = true
    assert not np.allclose(true, following)


@pytest.mark.parametrize("env_id", FAMILIES)
def test_equal_seeds_give_equal_runs_whatever_the_number_of_threads(env_id):
    def run(seed, num_threads):
        env = make(env_id, 4, seed=seed, num_threads=num_threads)
        steps = [env.reset()[0]]
        for action in actions_of(env, 40):
            steps.append(env.step(action)[0])
        return env, np.stack(steps)

    env, first = run(3, 1)
    again = run(3, 2)[1]
    assert (first == again).all()
    assert not np.array_equal(first, run(4, 1)[1])
    assert len(np.unique(first[0], axis=0)) == 4
    reseeded, _ = env.reset(seed=3)
    assert (reseeded == first[0]).all()
    assert not np.array_equal(env.reset()[0], first[0])


def test_one_seed_per_sub_environment():
    env = make("dmc/walker-walk", 3, seed=[7, 8, 7])
    observations, _ = env.reset()
    assert (observations[0] == observations[2]).all()
    assert not np.array_equal(observations[0], observations[1])


def test_actions_are_scaled_to_the_bounds_of_the_task_and_clipped():
    """A pendulum (bounds -2 and 2) costs 0.001 u^2 for the torque u."""
    rewards = []
    for action in (0.0, 0.5, 1.0, 5.0):
        env = make("gym/Pendulum-v1", seed=1)
        env.reset()
        rewards.append(float(env.step(np.full((1, 1), action))[1][0]))
    costs = rewards[0] - np.array(rewards)
    assert np.allclose(costs, [0.0, 0.001, 0.004, 0.004], atol=1e-5)


def test_bad_actions_are_refused():
    env = make("dmc/walker-walk", 2)
    env.reset()
    with pytest.raises(ValueError, match=r"shape \(2, 6\)"):
        env.step(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="not a number"):
        env.step(np.full((2, 6), np.nan))


def test_tensors():
    env = make("metaworld/window-open-v3", 2, device="cpu")
    observations, _ = env.reset()
    assert isinstance(observations, torch.Tensor)
    _, rewards, _, truncated, infos = env.step(torch.zeros(2, 4))
    assert rewards.dtype == torch.float32
    assert truncated.dtype == infos["success"].dtype == torch.bool


def test_the_goal_is_hidden_unless_asked_for():
    for is_visible in (False, True):
        env = make("metaworld/window-open-v3", 2, goal_visible=is_visible)
        observations, _ = env.reset()
        following = env.step(np.zeros((2, 4)))[0]
        assert bool(observations[:, -3:].any()) is is_visible
        assert bool(following[:, -3:].any()) is is_visible
        assert env.observation_space.contains(following)


def test_the_observation_has_the_entries_of_the_official_task_in_its_order():
    """EnvPool's fish has `target` last and shows it in `upright` too."""
    for task, size in (("fish-swim", 24), ("fish-upright", 21)):
        assert make(f"dmc/{task}").reset()[0].shape == (1, size)
    env = make("dmc/fish-swim")
    velocity = env.reset()[0][0, -13:]
    assert not velocity.any()  # at rest after a reset, as in dm_control


def test_what_envpool_cannot_do_names_the_official_back_end():
    env = make("dmc/walker-walk")
    env.reset()
    with pytest.raises(envs.RenderingUnavailable, match="backend='official'"):
        env.render()
    with pytest.raises(NotImplementedError, match="backend='official'"):
        env.get_state(0)
    with pytest.raises(NotImplementedError, match="backend='official'"):
        env.set_state(0, {})


@pytest.mark.parametrize(
    ("env_id", "options", "message"),
    [
        ("metaworld/reach-v3", {"reward_version": "v1"}, "reward_version 'v2' only"),
        ("dmc/walker-walk", {"task_kwargs": {}}, "no option task_kwargs"),
        ("gym/Hopper-v5", {"healthy_reward": 2.0}, "no option healthy_reward"),
        ("gym/Ghost-v5", {}, "did you mean"),
    ],
)
def test_unknown_tasks_and_options_are_refused(env_id, options, message):
    with pytest.raises(ValueError, match=message):
        make(env_id, **options)


def test_auto_takes_envpool_where_it_agrees_and_the_options_fit():
    assert backend.supports("dmc/walker-walk")
    assert backend.supports("metaworld/window-open-v3", goal_visible=True, max_episode_steps=9)
    assert not backend.supports("metaworld/window-open-v3", reward_version="v1")
    assert not backend.supports("dmc/walker-walk", camera=0)
    assert not backend.supports("gym/Walker2d-v5", healthy_reward=2.0)
    assert not backend.supports("gym/my_module:Own-v0")
    assert not backend.supports("metaworld/hammer-v3")
    assert envs.make("dmc/walker-walk", 2).record.backend == "envpool"
    assert envs.make("metaworld/hammer-v3", 2).record.backend == "official"


def test_a_task_that_differs_warns_with_the_reason():
    with pytest.warns(UserWarning, match="known to be the official task: the nail moves"):
        make("metaworld/hammer-v3")


def test_every_task_is_judged_once():
    judged = [f"{source}/{task}" for source, tasks in AGREES.items() for task in tasks]
    assert not set(judged) & DIFFERS.keys()
    assert set(judged) | DIFFERS.keys() == {*envs.list_ids("gym"), *SUITES}


def test_without_the_package_the_extra_is_named(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(backend.importlib, "import_module", absent)
    with pytest.raises(ImportError, match=r"pip install 'pbrl\[envpool\]'"):
        backend._import_envpool()


def test_nothing_is_said_about_the_precision_of_its_bounds():
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        env = envs.make("gym/Pendulum-v1", 1, backend="envpool")
        env.reset()
        env.step(env.action_space.sample())
    assert [str(one.message) for one in given if "precision" in str(one.message)] == []
