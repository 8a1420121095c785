"""TACO's codes in front of the networks of a run on states, or of its learned reward."""

from dataclasses import replace
from typing import Literal

from pbrl.reward_codes import RewardCodesConfig
from pbrl.state_codes import StateCodesConfig
from pbrl.training.config import TrainConfig

Representation = Literal["none", "taco", "taco-reward"]
SMALL_HEADS = 256  # of the objective, where networks are as small


def with_codes(config: TrainConfig, representation: Representation) -> TrainConfig:
    """Return a run that sees states through TACO's codes, everything else as it was.

    Args:
        config: a run on states.
        representation: "taco" puts the codes in front of actor and critics, "taco-reward" in front
            of the reward ensemble, "none" changes nothing.

    Raises:
        ValueError: if the run sees images, its agent takes no codes, or it has no reward to learn.
    """
    if representation == "none":
        return config
    if config.environment.pixels is not None:
        raise ValueError(f"{config.agent} sees images: TACO on these is the agent taco")
    if representation == "taco" and config.ppo is not None:
        raise ValueError(f"{config.agent} has no codes: taco is for SAC, or take taco-reward")
    name = f"{config.agent}-{representation}"
    codes = StateCodesConfig()
    if config.preset == "cpu":
        heads = replace(codes.taco, hidden_size=SMALL_HEADS)
        codes = replace(codes, learning_rate=config.sac.critic_lr, taco=heads)
    if representation == "taco":
        return replace(config, agent=name, sac=replace(config.sac, codes=codes))
    preferences = config.preferences
    if preferences is None:
        raise ValueError(f"{config.agent} learns from the true reward, which needs no codes")
    reward = replace(preferences.reward, codes=RewardCodesConfig(codes=codes))
    return replace(config, agent=name, preferences=replace(preferences, reward=reward))
