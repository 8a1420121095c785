"""Episodes begin as dm_control's do."""

import numpy as np
import pytest
import torch
from dm_control.suite.quadruped import _find_non_contacting_height

import pbrl.envs
from pbrl.envs.mjx.quadruped import Quadruped, free_height
from pbrl.envs.mjx.rollout import RolloutPhysics
from pbrl.envs.mjx.starts import at_rest, random_joints
from pbrl.envs.mjx.tasks import TASKS
from pbrl.envs.mjx.world import World, sensor_places

NUM_WORLDS = 2000


def first_positions(task, num_envs=NUM_WORLDS):
    env = pbrl.envs.make(f"mjx/{task}", num_envs, device="cpu", num_threads=1)
    env.reset(seed=1)
    return env.physics.model, env._state, env._goals


@pytest.mark.parametrize("task", ["walker-walk", "hopper-hop", "reacher-easy"])
def test_joints_are_uniform_in_their_ranges(task):
    model, state, _ = first_positions(task)
    for joint in range(model.njnt):
        drawn = state.qpos[:, joint].numpy()
        if model.jnt_limited[joint]:
            low, high = model.jnt_range[joint]
        elif model.jnt_type[joint] == 3:  # a hinge
            low, high = -np.pi, np.pi
        else:
            assert (drawn == model.qpos0[joint]).all()
            continue
        assert low <= drawn.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < drawn.max() <= high
        assert abs(drawn.mean() - (low + high) / 2) < 0.03 * (high - low)  # 4.6 standard errors
    assert (state.qvel == 0).all()


def test_pole_hangs_with_a_little_noise():
    _, state, _ = first_positions("cartpole-swingup")
    for values, mean in ((state.qpos[:, 0], 0.0), (state.qpos[:, 1], np.pi)):
        assert float(values.mean()) == pytest.approx(mean, abs=0.001)
        assert float(values.std()) == pytest.approx(0.01, rel=0.1)
    assert float(state.qvel.std()) == pytest.approx(0.01, rel=0.1)


def test_targets_of_the_reacher_lie_in_a_ring():
    _, _, goals = first_positions("reacher-easy")
    radius = goals.norm(dim=1)
    assert 0.05 <= float(radius.min()) < 0.055
    assert 0.195 < float(radius.max()) <= 0.2
    assert abs(float(goals.mean())) < 0.01
    assert float(radius.mean()) == pytest.approx(0.125, abs=0.005)


def suite_env(task):
    return pbrl.envs.make(f"dmc/{task}", 1, backend="official").lanes[0].env


class Remembering(np.random.RandomState):
    """Remembers the last draw."""

    def uniform(self, low, high):
        self.drawn = super().uniform(low, high)
        return self.drawn

    def randn(self, *shape):
        self.drawn = super().randn(*shape)
        return self.drawn


def test_cheetah_settles_as_in_the_suite(monkeypatch):
    environment = suite_env("cheetah-run")
    environment.task._random = Remembering(0)
    environment.reset()
    model = environment.physics.model
    qpos = torch.as_tensor(model.ptr.qpos0).clone()
    qpos[torch.as_tensor(model.jnt_limited == 1)] = torch.as_tensor(environment.task.random.drawn)

    monkeypatch.setattr("pbrl.envs.mjx.cheetah.random_joints", lambda *_, **__: qpos[None])
    task = TASKS["cheetah-run"]
    start = task.start(RolloutPhysics(task.build_model(), 1), 1, torch.Generator())
    np.testing.assert_allclose(start.state.qpos[0], environment.physics.data.qpos, atol=1e-10)
    np.testing.assert_allclose(start.state.qvel[0], environment.physics.data.qvel, atol=1e-10)


def test_quadruped_floats_at_the_suites_height():
    environment = suite_env("quadruped-walk")
    model = Quadruped(speed=0.5).build_model()
    random = np.random.default_rng(0)
    for _ in range(10):
        turn = random.normal(size=4)
        turn /= np.linalg.norm(turn)
        _find_non_contacting_height(environment.physics, turn)
        ours = free_height(model, torch.as_tensor(turn)[None])
        assert float(ours) == pytest.approx(environment.physics.data.qpos[2], abs=1e-9)


def test_quadruped_begins_as_in_the_suite(monkeypatch):
    """Equal turns give equal states and equal first observations, all 78 numbers of them."""
    environment = suite_env("quadruped-walk")
    environment.task._random = Remembering(0)
    task = TASKS["quadruped-walk"]
    physics = RolloutPhysics(task.build_model(), 1)
    for _ in range(3):
        theirs = np.concatenate(list(map(np.ravel, environment.reset().observation.values())))
        turn = torch.as_tensor(environment.task.random.drawn)[None]
        monkeypatch.setattr("pbrl.envs.mjx.quadruped.normal", lambda *_, turn=turn: turn)
        start = task.start(physics, 1, torch.Generator())
        np.testing.assert_allclose(start.state.qpos[0], environment.physics.data.qpos, atol=1e-12)
        assert not start.state.qvel.any()
        world = World(
            state=start.state,
            controls=torch.zeros(1, physics.model.nu),
            goals=start.goals,
            sensor_places=sensor_places(physics.model),
        )
        np.testing.assert_allclose(task.observe(world)[0], theirs, atol=1e-9)


def test_quadrupeds_are_turned_every_way():
    _, state, _ = first_positions("quadruped-walk", 1000)
    turns = state.qpos[:, 3:7]
    np.testing.assert_allclose(turns.norm(dim=1), np.ones(1000), atol=1e-12)
    # Uniform on the sphere of four dimensions: mean 0, covariance 1/4; 5 standard errors.
    np.testing.assert_allclose(turns.mean(0), np.zeros(4), atol=0.08)
    np.testing.assert_allclose(turns.T @ turns / 1000, np.eye(4) / 4, atol=0.04)
    assert (state.qpos[:, :2] == 0).all()


def test_force_sensors_at_rest_are_the_suites():
    environment = suite_env("hopper-stand")
    task = TASKS["hopper-stand"]
    physics = RolloutPhysics(task.build_model(), 1)
    simulation = environment.physics
    for depth in (0.0, 0.05):  # of the foot in the ground
        with simulation.reset_context():
            simulation.named.data.qpos["rootz"] = -0.05 - depth
        theirs = simulation.data.sensordata
        assert (theirs[3:] > 1.0).any() == (depth > 0.0)  # newtons on toe and heel
        start = at_rest(physics, torch.as_tensor(simulation.data.qpos.copy())[None])
        np.testing.assert_allclose(start.state.sensors[0, : len(theirs)], theirs, rtol=1e-6)


def test_one_seed_one_beginning():
    task = TASKS["walker-walk"]
    physics = RolloutPhysics(task.build_model(), 1)
    first, second, other = (
        random_joints(physics, 5, torch.Generator().manual_seed(seed), free_hinges=True)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
