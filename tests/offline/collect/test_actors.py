import numpy as np
import pytest
import torch

from pbrl import envs
from pbrl.offline.collect.actors import ChangedActor, NetworkActor, ScriptedExpert, UniformActor
from pbrl.offline.collect.sources import Source

SEEN = np.zeros((2, 3), np.float32)


def generators(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


class Half:
    """Always acts 0.5."""

    def __call__(self, observations, rngs):
        return np.full((len(observations), 4), 0.5)


def test_each_row_draws_from_its_own_generator():
    changed = ChangedActor(Half(), Source(policy="x", noise=0.3, random=0.5))
    for actor in (UniformActor(4), changed):
        both = actor(SEEN, generators(1, 2))
        swapped = actor(SEEN, generators(2, 1))
        np.testing.assert_array_equal(both, swapped[::-1])
        assert (np.abs(both) <= 1).all()


def test_noise_and_scale_do_what_they_say():
    changed = ChangedActor(Half(), Source(policy="x", noise=0.1, scale=0.4))
    rngs = generators(*range(2_000))
    actions = changed(np.zeros((2_000, 3), np.float32), rngs)
    assert actions.mean() == pytest.approx(0.2, abs=0.005)
    assert actions.std() == pytest.approx(0.1, rel=0.05)
    replaced = ChangedActor(Half(), Source(policy="x", random=0.25))(
        np.zeros((2_000, 3), np.float32), generators(*range(2_000))
    )
    share = (replaced != 0.5).any(1).mean()
    assert share == pytest.approx(0.25, abs=0.04)


def test_noise_is_cut_off_at_the_bounds():
    loud = ChangedActor(Half(), Source(policy="x", noise=50.0))(SEEN, generators(1, 2))
    assert np.abs(loud).max() == 1.0


def test_a_network_gives_its_mode_or_a_sample_of_the_noise_of_the_episode():
    mode = NetworkActor(lambda seen: torch.tanh(seen[:, :1]))
    np.testing.assert_array_equal(mode(SEEN + 1, generators(1, 2)), np.tanh([[1.0]] * 2, dtype="f"))
    sample = NetworkActor(lambda seen, noise: noise + seen[:, :1], action_dim=2)
    found = sample(SEEN, generators(5, 6))
    expected = [rng.standard_normal(2) for rng in generators(5, 6)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("env_id", ["metaworld/plate-slide-v3", "metaworld/plate-slide-v3-cpl"])
def test_the_scripted_expert_sees_the_goal_under_every_protocol(env_id):
    env = envs.make(env_id, 2, backend="official", seed=1)
    observations, _ = env.reset()
    expert = ScriptedExpert(env)
    solved = np.zeros(2, bool)
    for _ in range(150):
        before = observations.copy()
        actions = expert(observations, [])
        np.testing.assert_array_equal(observations, before)
        assert np.abs(actions).max() <= 1
        observations, _, _, _, infos = env.step(actions)
        solved |= infos["success"]
    assert solved.all()


def test_an_expert_who_misjudges_the_object_moves_to_its_side():
    env = envs.make("metaworld/drawer-open-v3-cpl", 1, seed=1)
    observations, _ = env.reset()
    right, left = (ScriptedExpert(env, offset)(observations, []) for offset in (0.02, -0.02))
    np.testing.assert_allclose(right[0] - left[0], [4 * 0.04, 0, 0, 0], atol=1e-6)  # gain 4


def test_other_environments_have_no_scripted_expert():
    env = envs.make("gym/Pendulum-v1", backend="official")
    with pytest.raises(ValueError, match="only Meta-World has scripted experts, got gym/Pendulum"):
        ScriptedExpert(env)
