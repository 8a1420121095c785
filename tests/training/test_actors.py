from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pbrl import envs
from pbrl.agents.bc import BCConfig
from pbrl.agents.policies import PolicyConfig
from pbrl.agents.sb3_format import to_sb3
from pbrl.offline.collect.sources import Source
from pbrl.training.actors import load_actor, load_sac, load_saved_policy
from pbrl.training.collect import collect
from pbrl.training.collect_config import CollectConfig
from pbrl.training.fit import fit
from pbrl.training.fit_config import FitConfig
from pbrl.training.run import train
from pbrl.training.saved import load_policy

SEEN = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)


def generators():
    return [np.random.default_rng(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("policies")


@pytest.fixture(scope="module")
def dataset(folder):
    """Ten episodes of Pendulum by random actions."""
    config = CollectConfig(env="gym/Pendulum-v1", episodes=10, max_episode_steps=20)
    return str(collect(config, folder, "pendulum-v0"))


def fitted(folder, dataset, kind, normalize):
    method = BCConfig(policy=PolicyConfig(kind=kind, hidden_sizes=(16,)), batch_size=16)
    config = FitConfig(
        dataset=dataset,
        agent="bc",
        method=method,
        steps=6,
        eval_every=6,
        eval_episodes=1,
        normalize_observations=normalize,
    )
    fit(config, folder)
    return folder


@pytest.mark.parametrize(("kind", "normalize"), [("gaussian", True), ("fixed-variance", False)])
def test_the_policy_of_an_offline_run(tmp_path, dataset, kind, normalize):
    run = fitted(tmp_path / "run", dataset, kind, normalize)
    env = envs.make("gym/Pendulum-v1", 3, backend="official")
    actor, record = load_actor(Source(policy=str(run)), env)
    act, _ = load_policy(run)
    np.testing.assert_allclose(
        actor(SEEN, generators()), act(torch.from_numpy(SEEN)).numpy(), rtol=1e-6
    )
    assert (record["policy"], len(record["sha256"])) == (str(run), 64)
    saved = load_saved_policy(run, 3, 1)
    has_density = saved.log_prob is not None
    assert has_density == (kind == "gaussian")
    if has_density:
        assert saved.log_prob(torch.from_numpy(SEEN), torch.zeros(3, 1)).shape == (3,)
    with pytest.raises(ValueError, match="is not sampled here"):
        load_actor(Source(policy=str(run), stochastic=True), env)
    with pytest.raises(ValueError, match="maps 3 observed numbers to 1 actions, but 4 and 2"):
        load_saved_policy(run, 4, 2)


def test_a_sac_file_of_stable_baselines3_acts_as_the_agent_does(tiny_config, tmp_path):
    sac = replace(tiny_config.sac, log_std_mode="clamp", log_std_bounds=(-20.0, 2.0))
    train(replace(tiny_config, steps=60, preferences=None, agent="sac", sac=sac), tmp_path / "run")
    agent = load_sac(tmp_path / "run")
    env = envs.make(tiny_config.env, 3, backend="official")
    to_sb3(agent, (env.single_observation_space, env.single_action_space)).save(tmp_path / "sac")
    paths = (tmp_path / "run", tmp_path / "sac.zip")
    seen = SEEN[:, :2].copy()
    for stochastic in (False, True):
        first, second = (
            load_actor(Source(policy=str(path), stochastic=stochastic), env)[0](seen, generators())
            for path in paths
        )
        np.testing.assert_allclose(first, second, atol=1e-6)
    sampled = load_actor(Source(policy=str(paths[0]), stochastic=True), env)[0]
    swapped = sampled(seen[[1, 0, 2]], [generators()[k] for k in (1, 0, 2)])
    np.testing.assert_allclose(swapped[[1, 0, 2]], sampled(seen, generators()), atol=1e-6)


def test_what_is_not_there_is_named():
    with pytest.raises(FileNotFoundError, match="there is no file sac.zip"):
        load_sac(Path("sac.zip"))
    with pytest.raises(FileNotFoundError, match="nothing is not the folder of a run"):
        load_saved_policy(Path("nothing"), 1, 1)
