"""Hindsight PRIOR (Verma and Metcalf 2024) on top of the online methods."""

from collections.abc import Mapping
from dataclasses import replace

from pbrl.hindsight import HindsightConfig
from pbrl.training.config import TrainConfig
from pbrl.transformer import TransformerConfig
from pbrl.world_model import WorldModelConfig

# What learns its reward with the prior, and what it is without.
WITH_PRIOR: Mapping[str, str] = {
    "hindsight-prior": "pebble",
    "qpa-hindsight-prior": "qpa",
    "surf-hindsight-prior": "surf",
}
SMALL_WORLD = WorldModelConfig(
    transformer=TransformerConfig(width=64, num_layers=2, num_heads=1),
    batch_size=16,
    initial_updates=1_000,
    session_updates=200,
)


def with_prior(config: TrainConfig, agent: str) -> TrainConfig:
    """Return a run whose reward is learned with the prior, everything else as it was.

    Neither the paper's weight nor the sizes of its world model are known here. Its weight is that
    of `HindsightConfig`, and its world model that of `WorldModelConfig`, or one for two cores.

    Args:
        config: a run that learns from preferences.
        agent: name under which it is reported.

    Raises:
        ValueError: if the run does not learn from preferences.
    """
    preferences = config.preferences
    if preferences is None:
        raise ValueError(f"{config.agent} learns from the true reward: a prior has nothing to do")
    world = SMALL_WORLD if config.preset == "cpu" else WorldModelConfig()
    length = preferences.sampler.segment_length
    world = replace(world, max_steps=max(world.max_steps, length))
    learning = replace(preferences.learning, hindsight=HindsightConfig(world=world))
    return replace(config, agent=agent, preferences=replace(preferences, learning=learning))
