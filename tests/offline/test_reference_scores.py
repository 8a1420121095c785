import numpy as np
import pytest

from pbrl import envs
from pbrl.offline.reference_scores import D4RL_DATASETS, d4rl_name, reference_scores


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hopper-medium-expert-v2", "hopper-medium-expert-v2"),
        ("hopper_medium_expert-v2", "hopper-medium-expert-v2"),
        ("Walker2d_full_replay-v2", "walker2d-full-replay-v2"),
        ("pen-human-v1", "pen-human-v1"),
        ("relocate-demos-v0-bc-combined", "relocate-cloned-v0"),
        ("mini_kitchen_microwave_kettle_light_slider-v0", "kitchen-complete-v0"),
        (
            "Ant_maze_hardest-maze_noisy_multistart_True_multigoal_False_sparse_fixed",
            "antmaze-large-play-v2",
        ),
        ("maze2d-umaze-sparse-v1", "maze2d-umaze-v1"),
        ("maze2d-umaze-dense-v1", "maze2d-umaze-dense-v1"),
        ("mujoco/hopper/expert-v0", None),  # of Minari
        ("hopper-medium-v0", None),  # known to be faulty
        ("hopper-medium", None),
    ],
)
def test_datasets_are_known_by_their_name_and_file(text, name):
    assert d4rl_name(text) == name


def test_no_two_datasets_share_a_file():
    files = [dataset.file for dataset in D4RL_DATASETS.values()]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize(
    ("name", "random", "expert", "family"),
    [
        ("hopper-medium-replay-v2", -20.272305, 3234.3, "d4rl-v2"),
        ("halfcheetah-random-v2", -280.178953, 12135.0, "d4rl-v2"),
        ("walker2d-expert-v2", 1.629008, 4592.3, "d4rl-v2"),
        ("ant-medium-v2", -325.6, 3879.7, "d4rl-v2"),
        ("pen-cloned-v1", 96.262799, 3076.8331017826877, "d4rl-v1"),
        ("door-human-v0", -56.512833, 2880.5693087298737, "d4rl-v0"),
        ("kitchen-mixed-v0", 0.0, 4.0, "d4rl-v0"),
        ("antmaze-umaze-v2", 0.0, 1.0, "d4rl-v2"),
        ("maze2d-large-v1", 6.7, 273.99, "d4rl-v1"),
    ],
)
def test_scores_are_those_of_d4rl(name, random, expert, family):
    scores = reference_scores(name)
    assert (scores.random, scores.expert, scores.family) == (random, expert, family)
    np.testing.assert_allclose(scores.normalized(np.array([random, expert])), [0.0, 100.0])


def test_other_datasets_have_no_scores_of_d4rl():
    assert reference_scores("mujoco/hopper/expert-v0") is None


def test_normalising_by_hand():
    # (1000 + 20.272305) / (3234.3 + 20.272305) = 0.313489
    scores = reference_scores("hopper-medium-v2")
    assert scores.normalized(1000.0) == pytest.approx(31.3489, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "observation_dim", "action_dim"),
    [("hopper-medium-v2", 11, 3), ("walker2d-medium-v2", 17, 6), ("halfcheetah-medium-v2", 17, 6)],
)
def test_environments_have_the_spaces_of_the_datasets(name, observation_dim, action_dim):
    env = envs.make(D4RL_DATASETS[name].env)
    assert env.single_observation_space.shape == (observation_dim,)
    assert env.single_action_space.shape == (action_dim,)
    assert env.record.max_episode_steps == D4RL_DATASETS[name].max_episode_steps
