from dataclasses import replace

import pytest
import torch

from pbrl.hindsight import HindsightConfig
from pbrl.training.build import build_loop
from pbrl.training.config import TrainConfig
from pbrl.training.hindsight_presets import WITH_PRIOR, with_prior
from pbrl.training.presets import make_config
from pbrl.transformer import TransformerConfig
from pbrl.world_model import WorldModelConfig

TINY = HindsightConfig(
    world=WorldModelConfig(
        transformer=TransformerConfig(width=8, num_layers=1, num_heads=1),
        max_steps=5,
        batch_size=4,
        initial_updates=4,
        session_updates=2,
    )
)


@pytest.mark.parametrize("agent", WITH_PRIOR)
@pytest.mark.parametrize("preset", ["cpu", "paper"])
def test_only_the_prior_is_added(agent, preset):
    made = make_config("dmc/walker-walk", agent, preset=preset, seed=3)
    plain = make_config("dmc/walker-walk", WITH_PRIOR[agent], preset=preset, seed=3)
    hindsight = made.preferences.learning.hindsight
    assert hindsight.weight == 0.1
    assert hindsight.world.max_steps >= made.preferences.sampler.segment_length
    learning = replace(made.preferences.learning, hindsight=None)
    preferences = replace(made.preferences, learning=learning)
    assert replace(made, agent=WITH_PRIOR[agent], preferences=preferences) == plain


def test_sizes():
    worlds = [
        make_config(
            "dmc/walker-walk", "hindsight-prior", preset=preset
        ).preferences.learning.hindsight.world
        for preset in ("cpu", "paper")
    ]
    assert [world.transformer.width for world in worlds] == [64, 256]
    assert [world.initial_updates for world in worlds] == [1_000, 10_000]
    drawer = make_config("metaworld/drawer-open-v3", "hindsight-prior", preset="paper")
    assert drawer.preferences.schedule.budget == 4_000


def test_true_reward_needs_no_prior():
    with pytest.raises(ValueError, match="sac learns from the true reward"):
        with_prior(TrainConfig(env="gym/Pendulum-v1", agent="sac"), "hindsight-prior")


def test_online_the_world_model_learns_with_every_session_and_is_saved(tiny_config):
    preferences = tiny_config.preferences
    learning = replace(preferences.learning, hindsight=TINY, passes=2)
    config = replace(tiny_config, preferences=replace(preferences, learning=learning))
    loop = build_loop(config)
    while loop.step < 300:
        loop.advance()
    assert loop.num_sessions == 3
    assert loop.session_metrics["world/updates"] == 8  # 4, and 2 in each later session
    assert loop.session_metrics["reward/hindsight_loss"] > 0
    again = build_loop(config)
    again.load_state_dict(loop.state_dict())
    index = loop.source.feedback.labelled().index.reshape(-1)
    one, other = (
        made.source.learner.hindsight.importance(index, made.replay) for made in (loop, again)
    )
    assert torch.equal(one, other)
    one, other = (
        made.source.learner.fit(
            made.source.feedback.labelled(), made.replay, made.generators["reward"]
        )
        for made in (loop, again)
    )
    assert one == other


def test_segments_longer_than_the_world_model_knows_are_refused_before_anything_runs(tiny_config):
    preferences = tiny_config.preferences
    sampler = replace(preferences.sampler, segment_length=6)
    learning = replace(preferences.learning, hindsight=TINY)
    with pytest.raises(ValueError, match="segment_length 6 steps, got 5"):
        replace(preferences, learning=learning, sampler=sampler)
