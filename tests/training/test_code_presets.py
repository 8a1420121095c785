import dataclasses

import pytest

from pbrl.batches import BatchSteps
from pbrl.reward_codes import RewardCodesConfig
from pbrl.state_codes import StateCodesConfig
from pbrl.taco import TacoConfig
from pbrl.training.build import build_loop
from pbrl.training.code_presets import with_codes
from pbrl.training.presets import make_config

CODES = StateCodesConfig(
    hidden_sizes=(16,), taco=TacoConfig(num_features=8, hidden_size=16, reward=False, noise=0.03)
)


def test_codes_in_front_of_the_agent():
    config = make_config("dmc/walker-walk", "qpa", representation="taco")
    plain = make_config("dmc/walker-walk", "qpa")
    assert config.agent == "qpa-taco"
    assert config.sac.codes.taco.num_actions == 3
    assert dataclasses.replace(config.sac, codes=None) == plain.sac
    assert config.preferences == plain.preferences


def test_codes_in_front_of_the_reward():
    config = make_config("dmc/walker-walk", "pebble", representation="taco-reward")
    plain = make_config("dmc/walker-walk", "pebble")
    assert config.agent == "pebble-taco-reward"
    assert config.sac == plain.sac
    reward = config.preferences.reward
    assert reward.codes is not None
    assert dataclasses.replace(reward, codes=None) == plain.preferences.reward


def test_none_changes_nothing(tiny_config):
    assert with_codes(tiny_config, "none") is tiny_config


def test_what_has_no_use_for_codes_is_refused():
    with pytest.raises(ValueError, match="sac learns from the true reward, which needs no codes"):
        make_config("dmc/walker-walk", "sac", representation="taco-reward")
    with pytest.raises(ValueError, match="TACO on these is the agent taco"):
        make_config("dmc/walker-walk", "drqv2", representation="taco")


@pytest.mark.many_updates
@pytest.mark.parametrize("where", ["agent", "reward"])
def test_preferences_are_learned_from_through_codes(tiny_config, where):
    config = dataclasses.replace(tiny_config, steps=220)
    if where == "agent":
        config = dataclasses.replace(config, sac=dataclasses.replace(config.sac, codes=CODES))
    else:
        reward = dataclasses.replace(
            config.preferences.reward, codes=RewardCodesConfig(codes=CODES, initial_updates=20)
        )
        preferences = dataclasses.replace(config.preferences, reward=reward)
        config = dataclasses.replace(config, preferences=preferences)
    loop = build_loop(config)
    while loop.step < config.steps:
        loop.advance()
    metrics = loop.metrics()
    assert metrics["labels/given"] == 40
    assert metrics["reward/accuracy"] > 0.7
    if where == "agent":
        assert loop.agent.batch_steps == BatchSteps(num_actions=3)
        assert "codes_loss" in metrics
    else:
        assert metrics["codes/updates"] >= 20
    twin = build_loop(config)
    twin.load_state_dict(loop.state_dict())
    for one in (loop, twin):
        one.replay.close_open_episodes()
        one.agent.update(one.draw())
    seen = loop.collector.observations
    actions = [one.agent.act(seen, deterministic=True) for one in (loop, twin)]
    assert (actions[0] == actions[1]).all()
