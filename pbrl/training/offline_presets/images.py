"""TD3+BC on datasets of images, for two cores; TACO's own offline numbers are not known here."""

import json
from dataclasses import replace
from typing import Any

from pbrl.agents.td3_bc import TD3BCConfig
from pbrl.envs.pixels import PixelConfig
from pbrl.training.config import EnvironmentConfig
from pbrl.training.decode import decode
from pbrl.training.offline_presets.facts import Facts, NoNumbersError, Recipe
from pbrl.training.pixel_presets import SMALL_BATCH, small_learner
from pbrl.training.reward_stage import RewardStageConfig
from pbrl.training.run_dataset import PIXELS

AGENTS = ("td3-bc", "td3-bc-taco")
UPDATES = 10_000


def of_images(agent: str, facts: Facts) -> Recipe:
    """Return numbers for one of `AGENTS`, which learn from true rewards.

    Raises:
        NoNumbersError: if the dataset holds no images.
    """
    seen = pixels_of(facts.info.metadata)
    if seen is None:
        raise NoNumbersError("only for datasets of images, such as the replay of a run on images")
    learner = small_learner(seen, with_taco=agent == "td3-bc-taco")
    given = TD3BCConfig().learner
    learner = replace(
        learner, cloning=given.cloning, noise=given.noise, noise_limit=given.noise_limit
    )
    return Recipe(
        method=TD3BCConfig(learner=learner, batch_size=SMALL_BATCH),
        steps=UPDATES,
        eval_every=UPDATES // 5,
        eval_episodes=5,
        reward=RewardStageConfig(source="true"),
        environment=EnvironmentConfig(backend="official", pixels=seen),
    )


def pixels_of(metadata: Any) -> PixelConfig | None:
    """Return what a dataset's environment shows, if that is images."""
    return decode(PixelConfig, json.loads(metadata[PIXELS])) if PIXELS in metadata else None
