"""Runs on images from the first frame to a resumed end."""

from dataclasses import replace

import pytest
import torch

from pbrl.agents.drqv2 import DrQv2
from pbrl.batches import MultiStepBatch
from pbrl.encoders import EncoderConfig
from pbrl.envs import PixelConfig
from pbrl.offline.dataset import DatasetInfo
from pbrl.taco import TacoConfig
from pbrl.training.build import build_loop
from pbrl.training.config import EnvironmentConfig
from pbrl.training.fit import fit
from pbrl.training.fit_config import DataConfig
from pbrl.training.fit_data import load_data
from pbrl.training.offline_presets import make_fit_config
from pbrl.training.offline_presets.facts import Facts
from pbrl.training.pixel_presets import pixel_config
from pbrl.training.presets import make_config
from pbrl.training.run import load_agent, train
from pbrl.training.saved import load_policy


def tiny(agent="taco", steps=60):
    pixels = PixelConfig(size=(24, 24), num_frames=2, action_repeat=25)  # episodes of 40 steps
    plain = pixel_config("dmc/cartpole-swingup", agent, preset="cpu", seed=0)
    taco = TacoConfig(num_features=8, hidden_size=8) if agent == "taco" else None
    return replace(
        plain,
        steps=steps,
        seed_steps=10,
        environment=EnvironmentConfig(pixels=pixels),
        drqv2=replace(
            plain.drqv2,
            encoder=EncoderConfig(
                image_shape=pixels.image_shape, num_filters=2, num_features=4, shift=1
            ),
            hidden_size=8,
            taco=taco,
        ),
        batch_size=8,
        eval_every=30,
        eval_episodes=1,
        checkpoint_every=20,
        log_every=10,
    )


@pytest.mark.parametrize("agent", ["drqv2", "taco"])
def test_a_run_on_images_leaves_everything_behind(agent, tmp_path):
    config = tiny(agent)
    result = train(config, tmp_path / "run")
    assert result.steps == 60
    assert result.agent == agent
    assert result.labels_asked == 0
    assert result.environment["max_episode_steps"] == 40
    assert [step for step, *_ in result.curve] == [30, 60]
    loaded, _ = load_agent(tmp_path / "run")
    assert isinstance(loaded, DrQv2)
    assert loaded.num_updates == 25  # one for two steps after the random ones


def test_the_replay_holds_single_frames_and_the_agent_gets_stacks():
    loop = build_loop(tiny())
    for _ in range(30):
        loop.advance()
    assert loop.replay.observation_dim == 2 * 3 * 24 * 24
    assert loop.replay.all_observations().shape == (30, 3 * 24 * 24)
    assert loop.replay.all_observations().dtype == torch.uint8
    batch = loop.draw()
    assert isinstance(batch, MultiStepBatch)
    assert batch.observations.shape == (8, 2 * 3 * 24 * 24)
    assert {"taco_contrastive_loss", "critic_loss"} <= set(loop.metrics())


def test_state_goes_on_where_it_was():
    loops = [build_loop(tiny()) for _ in range(2)]
    for _ in range(25):
        loops[0].advance()
    loops[1].load_state_dict(loops[0].state_dict())
    for loop in loops:
        loop.replay.close_open_episodes()
        batch = loop.draw()
        loop.agent.update(batch)
    seen = loops[0].collector.observations
    found = [loop.agent.act(seen, deterministic=True) for loop in loops]
    assert torch.equal(*found)


def test_presets_are_those_of_the_official_code():
    config = make_config("dmc/cheetah-run", "taco", preset="paper")
    assert config.drqv2.taco == TacoConfig()
    assert (config.batch_size, config.updates_per_step, config.seed_steps) == (1_024, 0.5, 2_000)
    assert config.environment.pixels == PixelConfig()
    assert config.drqv2.num_return_steps == 3
    walker = make_config("dmc/walker-run", "drqv2", preset="paper")
    assert (walker.batch_size, walker.drqv2.num_return_steps) == (256, 1)
    assert make_config("dmc/quadruped-run", "taco", preset="paper").replay_capacity == 100_000


def test_a_task_without_numbers_is_refused():
    with pytest.raises(ValueError, match="has no numbers for taco on dmc/humanoid-run"):
        make_config("dmc/humanoid-run", "taco", preset="paper")


def test_labels_are_not_spoilt_where_there_are_none():
    with pytest.raises(ValueError, match="needs labels, and drqv2 learns from the true reward"):
        make_config("dmc/cheetah-run", "drqv2", control="flipped-labels")


def test_images_and_who_sees_them_go_together(tiny_config):
    pixels = EnvironmentConfig(pixels=PixelConfig())
    with pytest.raises(ValueError, match="go together"):
        replace(tiny_config, environment=pixels)
    with pytest.raises(ValueError, match="image_shape must be that of the pixels"):
        replace(tiny(), environment=pixels)
    with pytest.raises(ValueError, match="preferences must be None with images"):
        replace(tiny(), preferences=tiny_config.preferences)


@pytest.mark.parametrize("agent", ["td3-bc", "td3-bc-taco"])
def test_the_replay_of_a_run_on_images_is_a_dataset(agent, tmp_path):
    source = tmp_path / "online"
    train(tiny("drqv2", steps=90), source)
    data = load_data(str(source), None, DataConfig(), "cpu")
    replay = data.dataset.replay
    assert replay.observation_dim == 2 * 3 * 24 * 24
    assert replay.all_observations().dtype == torch.uint8
    config = make_fit_config(str(source), agent, data.facts())
    assert config.environment.pixels == PixelConfig(size=(24, 24), num_frames=2, action_repeat=25)
    taco = config.method.learner.taco
    assert (taco is not None) == (agent == "td3-bc-taco")
    learner = replace(
        config.method.learner,
        encoder=replace(config.method.learner.encoder, num_filters=2, num_features=4),
        hidden_size=8,
        taco=taco and replace(taco, hidden_size=8),
    )
    config = replace(
        config,
        method=replace(config.method, learner=learner, batch_size=8),
        steps=4,
        eval_every=4,
        eval_episodes=1,
        checkpoint_every=2,
    )
    result = fit(config, tmp_path / "offline", data=data)
    assert result.score_name == "return"
    policy, stored = load_policy(tmp_path / "offline")
    assert stored.method == config.method
    assert stored.environment == config.environment
    frames = torch.zeros(1, replay.observation_dim, dtype=torch.uint8)
    assert policy(frames).shape == (1, 1)


def test_datasets_of_numbers_have_no_images_to_learn_from():
    with pytest.raises(ValueError, match="only for datasets of images"):
        make_fit_config("data.npz", "td3-bc", Facts(info=DatasetInfo(name="data", family="npz")))


def test_offline_there_are_no_numbers_of_a_paper():
    facts = Facts(info=DatasetInfo(name="data", family="run"))
    with pytest.raises(ValueError, match="no paper's numbers are known for td3-bc"):
        make_fit_config("data", "td3-bc", facts, preset="paper")
